"""Changes are in force in every worker within a second, and no request fails on their account."""

import threading
import time
from contextlib import suppress

import jwt
import pytest
from catalogs import relay
from rawclient import BrokenAnswerError
from running import eventually

WITHIN_S = 1.0
SLOW = pytest.mark.slow


def statuses(gateway, wires, target, token):
    found = []
    for wire in wires:
        wire.send(gateway.head("GET", target, token=token))
        found.append(wire.answer().status)
    return found


def in_force(gateway, target, token, status):
    """Tell whether every worker answers *target* with *status* in time. Connections are new: old ones idle out."""
    until = time.monotonic() + WITHIN_S
    while True:
        asked = time.monotonic()
        with suppress(BrokenAnswerError), gateway.one_wire_for_each_worker() as wires:
            if statuses(gateway, wires, target, token) == [status] * len(wires):
                return True
        if asked > until:
            return False
        time.sleep(0.02)


@pytest.mark.alone
@pytest.mark.parametrize("how", ["token", pytest.param("stdin", marks=SLOW), pytest.param("jti", marks=SLOW)])
def test_revoked_token_is_refused_by_every_worker_within_a_second(gateway, assert_problem, how):
    token = gateway.issue("shop")
    assert in_force(gateway, "/v1/echo/x", token, 200)

    revoke(gateway, token, how)

    assert in_force(gateway, "/v1/echo/x", token, 401)
    assert in_force(gateway, "/v1/echo/x", "shop", 200)
    assert_problem(gateway.call("GET", "/v1/echo/x", token=token), 401, "invalid-token")


def revoke(gateway, token, how):
    if how == "token":
        gateway.entrepot("token", "revoke", token)
    elif how == "stdin":
        gateway.entrepot("token", "revoke", "-", stdin=token)
    else:
        gateway.entrepot("token", "revoke", "--jti", claims_of(token)["jti"])


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


@pytest.mark.slow
def test_tokens_of_a_client_are_refused_and_new_ones_taken(gateway):
    old = gateway.issue("fenced")
    time.sleep(1.1)  # tokens of the second of the revocation are refused with it
    gateway.entrepot("token", "revoke", "--client", "fenced")
    assert eventually(lambda: gateway.call("GET", "/v1/echo/x", token=old, source="127.8.0.1").status == 401, WITHIN_S)
    time.sleep(1.1)

    new = gateway.issue("fenced")

    assert gateway.call("GET", "/v1/echo/x", token=new, source="127.8.0.1").status == 200
    assert gateway.call("GET", "/v1/echo/x", token="shop").status == 200
    gateway.tokens["fenced"] = new


class Load:
    """Two threads that call without a pause on kept-alive connections; ``failed`` must stay empty."""

    def __init__(self, gateway, *, threads=2, target="/v1/echo/load"):
        self.failed: list[object] = []
        self.count = 0
        self._head = gateway.head("GET", target, token="shop")
        self._gateway = gateway
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        assert eventually(lambda: self.count > 20)
        return self

    def __exit__(self, *exc):
        self._ending.set()
        for thread in self._threads:
            thread.join(15)

    def _work(self):
        while not self._ending.is_set():
            answered = [0]
            try:
                with self._gateway.wire() as wire:
                    self._keep_calling(wire, answered)
            except Exception as exc:  # noqa: BLE001 - every kind of failure counts
                self.failed.append(f"{time.time():.3f}: {exc!r} on a connection with {answered[0]} answers")
                time.sleep(0.02)

    def _keep_calling(self, wire, answered):
        while not self._ending.is_set():
            wire.send(self._head)
            answer = wire.answer()
            if answer.status != 200:
                self.failed.append(answer)
            self.count += 1
            answered[0] += 1
            if answer.header("connection") == "close":
                return


@pytest.mark.alone
def test_new_revision_is_in_force_within_a_second_and_fails_no_request(gateway, name):
    extra = {"endpoints": {f"extra-{name}": relay(f"/extra/{name}")}}
    with Load(gateway) as load:
        assert in_force(gateway, f"/v1/extra/{name}", "shop", 404)

        gateway.apply(f"extra-{name}.yaml", extra)

        assert in_force(gateway, f"/v1/extra/{name}", "shop", 200)
        assert eventually(lambda: load.count > 50)
    assert load.failed == []


@pytest.mark.slow
def test_client_that_is_taken_out_is_refused_within_a_second(gateway, name):
    partner = {"name": "Passing", "clients": {f"c-{name}": {"scopes": ["relay.read"]}}}
    gateway.bring_in("passing.yaml", {"partners": {f"p-{name}": partner}})
    token = gateway.issue(f"c-{name}")
    assert gateway.call("GET", "/v1/echo/x", token=token).status == 200

    catalog = gateway.directory / "catalog.yaml"
    gateway.entrepot("apply", "--prune", str(catalog))

    assert eventually(lambda: gateway.call("GET", "/v1/echo/x", token=token).status == 401, WITHIN_S)


@pytest.mark.slow
def test_catalog_with_mistakes_changes_nothing(gateway, name):
    path = gateway.directory / f"{name}.yaml"
    path.write_text("upstreams: {shop: {kind: http}}\nendpoints: {x: {path: nowhere}}\nnonsense: 1\n", encoding="utf-8")

    done = gateway.entrepot("apply", str(path), check=False)

    assert done.returncode == 1
    assert done.stderr.count(f"{name}.yaml:") >= 3
    assert "Traceback" not in done.stderr
    assert gateway.call("GET", "/v1/echo/x", token="shop").status == 200
