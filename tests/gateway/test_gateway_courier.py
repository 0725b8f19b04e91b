"""Gateway and courier together: what is accepted reaches the ERP, and partners see it."""

import signal
import subprocess

import pytest
from catalogs import MODELS
from running import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def courier(gateway):
    with (gateway.directory / "courier.log").open("ab") as log:
        process = subprocess.Popen(gateway.command("run", "courier"), stdout=log, stderr=log)
    assert eventually(lambda: "courier delivers" in (gateway.directory / "courier.log").read_text(), 10.0)
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def test_delivery_of_a_queued_write_ends_what_is_kept_of_its_records(gateway, courier, name):
    kept = {**MODELS["kept-contacts"], "path": f"/v1/{name}", "write": "queue"}
    gateway.apply(f"{name}.yaml", {"endpoints": {name: kept}})
    target = f"/v1/{name}?name={name}"
    # Each on a connection of its own: both workers have the endpoint.
    assert eventually(lambda: all(gateway.call("GET", target, token="shop").status == 200 for _ in range(12)), 3.0)
    assert gateway.call("GET", target, token="shop").data == []

    accepted = gateway.call_json("POST", f"/v1/{name}", {"name": name}, token="shop")
    place = accepted.header("location")
    delivered = eventually(lambda: gateway.call("GET", place, token="shop").data["state"] == "delivered", timeout_s=5.0)

    assert accepted.status == 202
    assert delivered
    assert [contact["name"] for contact in gateway.call("GET", target, token="shop").data] == [name]
