"""Work on records of an ERP: applied once, also when the ERP was away or its answer was lost."""

import json
import time
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest
from stand import eventually

from entrepot.ledger.claim import claim
from entrepot.ledger.entries import ClaimRequest, Settlement
from entrepot.ledger.restored import hold_unfinished
from entrepot.ledger.settle import settle
from entrepot.standin.server import StandIn

pytestmark = pytest.mark.slow

PASSWORD = "s3cret-of-the-erp"
PARTNER = 14


class Erp:
    """A stand-in ERP on a port that stays the same while it is away."""

    def __init__(self, directory, port):
        self._directory, self.port = directory, port
        self.url = f"http://127.0.0.1:{port}"

    @contextmanager
    def there(self):
        """Let it answer inside the block."""
        with StandIn(self._directory, port=self.port, password=PASSWORD):
            yield self

    def call(self, model, method, *args, **kwargs):
        """Return what *method* of *model* answers."""
        params = {"service": "object", "method": "execute_kw"}
        params["args"] = ["standin", 2, PASSWORD, model, method, list(args), kwargs]
        document = {"jsonrpc": "2.0", "id": 1, "method": "call", "params": params}
        question = Request(f"{self.url}/jsonrpc", json.dumps(document).encode(), {"Content-Type": "application/json"})
        with urlopen(question, timeout=10) as answer:
            return json.load(answer)["result"]


@pytest.fixture
def erp(tmp_path, other_port):
    (tmp_path / "erp").mkdir()
    return Erp(tmp_path / "erp", other_port)


@pytest.fixture
def stand(bare_stand, erp, tmp_path):
    (tmp_path / "secret").write_text(PASSWORD)
    with erp.there():
        bare_stand.apply(catalog(erp.url, tmp_path / "secret"))
    return bare_stand


def catalog(url, secret):
    orders = {
        "upstream": "erp",
        "write": "queue",
        "where": [["partner_id", "=", "{partner.contact}"]],
        "scopes": {"read": "w", "write": "w"},
        "retry": {"first": "200ms", "factor": 2, "ceiling": "10m", "age": "1h"},
    }
    return {
        "upstreams": {
            "erp": {
                "kind": "odoo", "url": url, "database": "standin", "login": "gateway", "secret": f"file:{secret}",
                "settle": "1s", "concurrency": 2,
            }
        },
        "endpoints": {
            "orders": {
                **orders,
                "path": "/v1/orders",
                "model": "sale.order",
                "key": "reference",
                "set": {"partner_id": "{partner.contact}"},
                "fields": {
                    "reference": {"from": "client_order_ref", "required": True, "max_length": 64},
                    "state": {"from": "state", "read_only": True},
                    "note": "note",
                },
                "operations": ["list", "read", "create", "update", "delete"],
            },
            "confirm": {
                **orders,
                "path": "/v1/orders/{id}/confirm",
                "method": "POST",
                "call": "sale.order.action_confirm",
                "key": "client_order_ref",
                "guard": [["state", "in", ["sale", "done"]]],
            },
        },
        "partners": {"acme": {"name": "Acme", "values": {"contact": PARTNER}, "clients": {"shop": {"scopes": ["w"]}}}},
    }  # fmt: skip


def put(stand, kind, body="", *, endpoint="orders", reference=None):
    methods = {"create": "POST", "update": "PATCH", "delete": "DELETE", "call": "POST"}
    return stand.put(
        body, endpoint=endpoint, kind=kind, method=methods[kind], order_key="o" * 64,
        values={"partner.contact": PARTNER}, variables={"id": reference} if reference else {},
    )  # fmt: skip


def test_an_order_is_made_changed_and_confirmed_by_the_partners_own_reference_while_the_erp_is_away(stand, erp):
    ids = [
        *put(stand, "create", '{"reference": "A-1", "note": "first"}'),
        *put(stand, "update", '{"note": "second"}', reference="A-1"),
        *put(stand, "call", endpoint="confirm", reference="A-1"),
    ]
    stand.run()
    assert eventually(lambda: stand.sight(ids[0]).attempts >= 2)

    with erp.there():
        stand.wait_state(ids[:1], "delivered", 5)
        stand.wait_state(ids, "delivered")
        found = erp.call("sale.order", "search_read", [["client_order_ref", "=", "A-1"]], fields=["note", "state"])

    assert [(row["note"], row["state"]) for row in found] == [("second", "sale")]
    answers = [stand.sight(id_).answer for id_ in ids]
    assert [answer.status for answer in answers] == [201, 200, 200]
    assert json.loads(answers[0].body)["reference"] == "A-1"


def test_a_record_that_the_erp_refuses_is_dead_at_once_with_the_reason_for_the_partner(stand, erp):
    (id_,) = put(stand, "update", '{"note": "x"}', reference="nowhere")

    with erp.there():
        stand.run()
        stand.wait_state([id_], "dead")

    sight = stand.sight(id_)
    assert (sight.applied, sight.attempts, sight.problem["code"]) == ("no", 1, "record-not-found")
    assert "Traceback" not in json.dumps(sight.problem)


def test_a_conflict_that_is_replayed_is_written_over_what_others_wrote(stand, erp):
    with erp.there():
        made = erp.call("sale.order", "create", {"partner_id": PARTNER, "client_order_ref": "A-4", "note": "of others"})
        (id_,) = put(stand, "update", '{"note": "mine"}', reference="A-4")
        noted = {"id": made, "write_date": "2020-01-01 00:00:00", "lines": {}, "lacked": True}
        with stand.database.writing() as connection:
            connection.exec_driver_sql(
                "UPDATE transactions SET state = 'waiting', applied = 'unknown', memory = ?", (json.dumps(noted),)
            )
        stand.run()
        stand.wait_state([id_], "held")
        conflict = stand.sight(id_)

        stand.entrepot("transactions", "replay", id_)
        stand.wait_state([id_], "delivered")
        [row] = erp.call("sale.order", "read", [made], ["note"])

    assert (conflict.reason, conflict.applied) == ("conflict", "unknown")
    assert row["note"] == "mine"


def test_a_guarded_call_that_was_dead_in_the_backup_is_not_made_again_when_it_is_replayed(stand, erp):
    with erp.there():
        made = erp.call("sale.order", "create", {"partner_id": PARTNER, "client_order_ref": "A-5"})
        (id_,) = put(stand, "call", endpoint="confirm", reference="A-5")
        with stand.database.writing() as connection:
            ((lease,),) = claim(connection, [ClaimRequest("erp", 1, "gone", 30.0)], time.time())
            settle(connection, [Settlement(lease.seq, lease.token, "dead", "no")], time.time())
            hold_unfinished(connection)
        # What an operator's replay after the backup has done.
        erp.call("sale.order", "action_confirm", [made])
        [before] = erp.call("sale.order", "read", [made], ["state", "write_date"])

        stand.entrepot("transactions", "replay", id_)
        stand.run()
        stand.wait_state([id_], "delivered")
        [after] = erp.call("sale.order", "read", [made], ["state", "write_date"])

    assert before["state"] == "sale"
    assert after == before
    assert stand.sight(id_).answer.body == b"null"


def test_a_deletion_is_delivered(stand, erp):
    with erp.there():
        erp.call("sale.order", "create", {"partner_id": PARTNER, "client_order_ref": "A-2"})
        (id_,) = put(stand, "delete", reference="A-2")
        stand.run()
        stand.wait_state([id_], "delivered")
        found = erp.call("sale.order", "search_count", [["client_order_ref", "=", "A-2"]])

    assert found == 0
    assert stand.sight(id_).answer.status == 204


def test_a_wrong_password_holds_the_upstream_and_nothing_dies(stand, erp, tmp_path):
    (tmp_path / "secret").write_text("another")
    ids = put(stand, "create", '{"reference": "A-3"}')

    with erp.there():
        stand.run()
        assert eventually(stand.holds)
        sight = stand.sight(ids[0])
        assert (sight.state, sight.attempts) == ("queued", 0)

        (tmp_path / "secret").write_text(PASSWORD)
        stand.wait_state(ids, "delivered")

    assert stand.holds() == []
