"""What has been sent when a caller's patience ends: looking something up at Odoo is not yet the write."""

import json
import threading

import pytest
from ledgers import fixture, row
from running import eventually
from upstream import answers

own = fixture()
PRESENT = {"id": 7, "write_date": "2026-01-01 00:00:00", "note": "old"}


class Odoo:
    """Plans what ``/jsonrpc`` answers: all but the method *slow* at once, that when *gate* opens."""

    def __init__(self, upstream, slow):
        self.gate = threading.Event()
        self.asked = []
        self._slow = slow
        upstream.plan("/jsonrpc", self._script)

    def _script(self, request):
        document = json.loads(request.read_body())
        params = document["params"]
        method = params["args"][4] if params["method"] == "execute_kw" else params["method"]
        self.asked.append(method)
        if method == self._slow:
            self.gate.wait(10)
        result = {"authenticate": 2, "write": True}.get(method, [PRESENT])
        body = json.dumps({"jsonrpc": "2.0", "id": document["id"], "result": result}).encode()
        answers(body, "content-type: application/json")(request)


def patch(own, number):
    return own.call_json("PATCH", f"/v1/hasty-orders/{number}", {"note": "new"}, token="shop")


@pytest.mark.parametrize(("number", "slow"), [(1, "authenticate"), (2, "search_read")])
def test_patience_that_ends_while_something_is_looked_up_has_sent_nothing(own, upstream, number, slow):
    odoo = Odoo(upstream, slow)

    accepted = patch(own, number)
    found = row(own, accepted)
    odoo.gate.set()

    assert slow in odoo.asked
    assert (found["state"], found["applied"], found["attempts"]) == ("queued", "no", 0)
    assert int(accepted.header("retry-after")) <= 2
    assert not eventually(lambda: "write" in odoo.asked, 1.0)


def test_patience_that_ends_while_the_change_is_made_tells_so(own, upstream):
    odoo = Odoo(upstream, "write")

    found = row(own, patch(own, 3))
    odoo.gate.set()

    assert "write" in odoo.asked
    assert (found["state"], found["applied"], found["attempts"]) == ("waiting", "unknown", 1)
