"""Gateway and courier together: what is accepted reaches the ERP, and partners see it."""

import json
import signal
import subprocess

import pytest
from catalogs import MODELS
from ledgers import key
from running import START_S, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def courier(gateway):
    # Anew for each: what the one before has said is not said by this one.
    with (gateway.directory / "courier.log").open("wb") as log:
        process = subprocess.Popen(gateway.command("run", "courier"), stdout=log, stderr=log)
    assert eventually(lambda: "courier delivers" in (gateway.directory / "courier.log").read_text(), START_S)
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(START_S) == 0


def test_delivery_of_a_queued_write_ends_what_is_kept_of_its_records(gateway, courier, name):
    kept = {**MODELS["kept-contacts"], "path": f"/v1/{name}", "write": "queue"}
    gateway.bring_in(f"{name}.yaml", {"endpoints": {name: kept}})
    target = f"/v1/{name}?name={name}"
    # Each on a connection of its own: both workers keep it.
    assert all(gateway.call("GET", target, token="shop").data == [] for _ in range(12))
    revision = json.loads(gateway.call("GET", "/status").body)["revision"]
    log = gateway.directory / "courier.log"
    assert eventually(lambda: f"catalog in force revision={revision} " in log.read_text())

    accepted = gateway.call_json("POST", f"/v1/{name}", {"name": name}, token="shop")
    place = accepted.header("location")
    delivered = eventually(lambda: gateway.call("GET", place, token="shop").data["state"] == "delivered")

    assert accepted.status == 202
    assert delivered
    assert [contact["name"] for contact in gateway.call("GET", target, token="shop").data] == [name]


def test_queued_create_tells_where_the_record_is_as_a_direct_one_does(gateway, courier, name):
    contacts = {**MODELS["contacts"], "path": f"/v1/{name}", "aliases": [f"/v1/{name}-too"], "write": "queue"}
    gateway.bring_in(f"{name}.yaml", {"endpoints": {name: contacts}})
    target = f"/v1/{name}"

    accepted = gateway.call_json("POST", target, {"name": name}, key(name), token="shop")
    place = accepted.header("location")
    assert eventually(lambda: gateway.call("GET", place, token="shop").data["state"] == "delivered")
    result = gateway.call("GET", place, token="shop").data["result"]
    again = gateway.call_json("POST", target, {"name": name}, key(name), token="shop")

    assert (result["status"], result["location"]) == (201, f"{target}/{result['data']['id']}")
    assert gateway.call("GET", result["location"], token="shop").data["name"] == name
    assert (again.status, again.header("location")) == (202, place)
