"""What the gateway adds to an uncached read of one record, measured against the same call made directly."""

import http.client
import json
import statistics
import time
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.odoo

ROUNDS = 150
FIELDS = ["name", "active", "ref"]


@pytest.fixture
def person(ours, mark):
    return ours.contact("Ann", ref=mark)


def test_gateway_adds_little_to_an_uncached_read(gateway, odoo, ours, person, mark, capsys):
    [login] = odoo.call("res.users", "search", [["login", "=", odoo.login]])
    domain = [["parent_id", "=", ours.id], ["ref", "=", mark]]
    asked = {"domain": domain, "fields": FIELDS, "limit": 2, "context": {"active_test": False}}
    args = [odoo.database, login, odoo.password, "res.partner", "search_read", [], asked]
    params = {"service": "object", "method": "execute_kw", "args": args}
    question = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "call", "params": params})

    def direct():
        # Odoo closes after every answer: each call needs a connection of its own, the gateway's too.
        connection = http.client.HTTPConnection(urlsplit(odoo.url).netloc, timeout=10)
        connection.request("POST", "/jsonrpc", question, {"Content-Type": "application/json"})
        found = json.load(connection.getresponse())["result"]
        connection.close()
        assert len(found) == 1

    with gateway.wire() as wire:
        head = gateway.head("GET", f"/v1/people/{mark}", token="ours")

        def through():
            wire.send(head)
            assert wire.answer().status == 200

        direct_ms, through_ms = interleaved(direct, through)

    added_ms = statistics.median(through_ms) - statistics.median(direct_ms)
    with capsys.disabled():
        print(
            f"\nuncached read, median of {ROUNDS}: direct {statistics.median(direct_ms):.2f} ms, "
            f"through the gateway {statistics.median(through_ms):.2f} ms, added {added_ms:.2f} ms"
        )
    assert added_ms < 20.0


def interleaved(*works):
    """Return the milliseconds of each of *works*, taken in turns, so that what else runs here meets all alike."""
    taken_ms = [[] for _ in works]
    for number in range(ROUNDS + 10):
        for work, kept in zip(works, taken_ms, strict=True):
            before = time.perf_counter()
            work()
            if number >= 10:
                kept.append(1000 * (time.perf_counter() - before))
    return taken_ms
