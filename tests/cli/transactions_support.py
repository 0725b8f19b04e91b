"""A store with transactions in it, put there as gateway and courier do."""

import json
import time
from dataclasses import replace

import orjson

from entrepot.catalog.plans import Plan
from entrepot.connectors.base import Field, ModelMapping
from entrepot.ledger import operate
from entrepot.ledger.acceptance import accept
from entrepot.ledger.claim import claim
from entrepot.ledger.entries import (
    Acceptance,
    Attempt,
    ClaimRequest,
    KeptAnswer,
    NewTransaction,
    Quota,
    Settlement,
    new_id,
)
from entrepot.ledger.settle import settle
from entrepot.store import schema
from entrepot.store.engine import open_database

CONTACTS = ModelMapping(
    "res.partner",
    fields=(
        Field("name", ("name",)),
        Field("email", ("email",), private=True),
        Field("lines", ("child_ids",), type="one2many", fields=(Field("phone", ("phone",), private=True),)),
    ),
    operations=("create", "update"),
    key="email",
)
PLAN = Plan("contacts", "erp", "create", "POST", model=CONTACTS)
BODY = {"name": "Ada", "email": "ada@example.com", "lines": [{"phone": "+44 20 7946 0000"}]}
REFUSED = {"code": "upstream-rejected", "title": "The upstream refuses the record", "detail": "no ada@example.com here"}


def answer(done):
    """Return what a command that went well printed as JSON."""
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


class Ledger:
    """The ledger of the store beside *settings_file*, in a file of that or at *url*."""

    def __init__(self, settings_file, url=""):
        self.directory = settings_file.parent / "store"
        self.database = open_database(url or f"sqlite:///{self.directory}/entrepot.db")
        schema.prepare(self.database)

    def accept(self, count=1, *, body=BODY, plan=PLAN, key=None, when="always", **more):
        """Accept *count* transactions and return their ids."""
        now = more.pop("accepted_at", time.time())
        text, ids = plan.text(), [new_id(now) for _ in range(count)]
        first = NewTransaction(
            id="", partner="azure", client="shop", endpoint=plan.endpoint, upstream=plan.upstream, kind=plan.kind,
            operation_id=new_id(), plan=text, target="POST /v1/contacts", facts={"variables": {}, "values": {}},
            body=orjson.dumps(body), order_key=None, accepted_at=now, expires_at=now + 3600, due_at=now,
        )  # fmt: skip
        items = [Acceptance(replace(first, id=id_, **more), Quota(), key, when) for id_ in ids]
        with self.database.writing() as connection:
            accept(connection, items, now)
        return ids

    def admit(self, key):
        """Return what becomes of a direct write that brings *key*."""
        now = time.time()
        write = NewTransaction(
            id=new_id(), partner="azure", client="shop", endpoint="contacts", upstream="erp", kind="create",
            operation_id=new_id(), plan=PLAN.text(), target="POST /v1/contacts", facts={}, body=b"", order_key=None,
            accepted_at=now, expires_at=now + 3600, due_at=now,
        )  # fmt: skip
        with self.database.writing() as connection:
            (admission,) = accept(connection, [Acceptance(write, Quota(), key, "never")], now)
        return admission

    def hold(self):
        """Return the only hold."""
        with self.database.reading() as session:
            (hold,) = operate.holds(session.connection())
        return hold

    def take(self, *, upstream="erp", count=1000):
        """Let a courier lease what is due."""
        with self.database.writing() as connection:
            (leases,) = claim(connection, [ClaimRequest(upstream, count, "host/1", 60.0)], time.time())
        return leases

    def end(self, state, *, upstream="erp", count=1000, applied=None, problem=None, **more):
        """Let a courier bring what is due to *state*."""
        now = time.time()
        outcome = "delivered" if state == "delivered" else "record"
        tried = Attempt("host/1", now - 2, now - 1.5, outcome, 422 if problem else 201, **more)
        applied = applied or ("yes" if state == "delivered" else "no")
        answer = KeptAnswer(201, b"", orjson.dumps(BODY)) if state == "delivered" else None
        with self.database.writing() as connection:
            (leases,) = claim(connection, [ClaimRequest(upstream, count, "host/1", 60.0)], now)
            items = [
                Settlement(one.seq, one.token, state, applied, tried, answer=answer, problem=problem) for one in leases
            ]
            assert all(settle(connection, items, now))
        return [one.id for one in leases]
