"""What tests of the ledger's side of the gateway use: endpoints that queue, and a look into the store."""

import json
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest
from catalogs import MODELS, relay

from entrepot.ledger.claim import claim
from entrepot.ledger.entries import Attempt, ClaimRequest, KeptAnswer, Settlement
from entrepot.ledger.settle import settle
from entrepot.store.engine import open_database


def documents(upstream: str, closed_port: int, secret: str) -> dict:
    """Return a catalog beside that of all tests: the same in the modes ``queue`` and ``auto``."""
    http = {"kind": "http", "url": upstream, "timeout": "10s", "connect_timeout": "5s", "settle": "3s"}
    auto = {"write": "auto", "patience": "8s"}
    hurry = {"write": "auto", "patience": "800ms"}
    orders = {**MODELS["orders"], "path": "/v1/auto-orders", "aliases": ["/v1/later-orders"], **auto}
    confirm = {**MODELS["confirm-order"], "path": "/v1/auto-orders/{id}/confirm", **auto}
    hasty = {**MODELS["orders"], "path": "/v1/hasty-orders", "upstream": "hanging-erp", "set": {}}
    hasty |= {"write": "auto", "patience": "1500ms"}
    hasty |= {"fields": {"note": {"from": "note", "type": "text"}}, "key": "id", "where": []}
    bound = {**MODELS["orders"], "path": "/v1/bound-orders", "upstream": "hanging-erp", "set": {}, "write": "queue"}
    reference = {"from": "client_order_ref", "type": "text"}
    free = {**MODELS["confirm-order"], "path": "/v1/free-orders/{id}/confirm", "upstream": "hanging-erp", "where": []}
    contacts = {**MODELS["contacts"], "path": "/v1/queued-contacts", "aliases": ["/v1/queued-people"], "write": "queue"}
    return {
        "upstreams": {
            "patient": http,
            "prompt-patient": {**http, "timeout": "2s"},
            "fragile": {**http, "breaker": {"failures": 1, "open": "20s"}},
            "tight": {**http, "timeout": "20s", "concurrency": 1, "waiting": 1, "wait": "1500ms"},
            "hanging-erp": {
                **http,
                "timeout": "2s",
                "kind": "odoo",
                "database": "standin",
                "login": "gateway",
                "secret": f"file:{secret}",
                "protocol": "jsonrpc",
                "breaker": {"failures": 1000},
            },
            "absent": {**http, "url": f"http://127.0.0.1:{closed_port}", "breaker": {"failures": 1000}},
        },
        "endpoints": {
            "queued": relay("/queued/{rest}", "patient", write="queue"),
            "auto": relay("/auto/{rest}", "patient", **auto),
            "auto-any": relay("/any/{rest}", "patient", order="none", **auto),
            "hurry": relay("/hurry/{rest}", "patient", **hurry),
            "hurry-any": relay("/hurry-any/{rest}", "patient", order="none", **hurry),
            "hurry-prompt": relay("/hurry-prompt/{rest}", "prompt-patient", **hurry),
            "auto-fragile": relay("/fragile/{rest}", "fragile", order="none", **auto),
            "auto-tight": relay("/tight/{rest}", "tight", order="none", **hurry),
            "auto-absent": relay("/absent/{rest}", "absent", **auto),
            "plain": relay("/plain/{rest}", "patient"),
            "prompt-plain": relay("/prompt-plain/{rest}", "prompt-patient"),
            "plain-fragile": relay("/plain-fragile/{rest}", "fragile"),
            "needs-key": relay("/needs-key/{rest}", "patient", idempotency="required"),
            "hasty-orders": hasty,
            "unhurried-orders": {**hasty, "path": "/v1/unhurried-orders", "patience": "1900ms"},
            "bound-orders": {**bound, "fields": {"reference": reference}},
            "free-confirm": {**free, "write": "queue"},
            "queued-contacts": contacts,
            "auto-orders": orders,
            "auto-confirm": confirm,
        },
        "partners": {
            "small": {
                "name": "Small",
                "max_queued": 2,
                "clients": {"little": {"scopes": ["relay.read", "relay.write"]}},
            }
        },
    }


def key(text: str) -> str:
    """Return the header line of an idempotency key."""
    return f'Idempotency-Key: "{text}"'


def rows(daemon, **where) -> list[dict]:
    """Return the transactions in the store whose columns are as given, oldest first."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db")) as db:
        db.row_factory = sqlite3.Row
        condition = " AND ".join(f"{column} = ?" for column in where) or "1"
        found = db.execute(f"SELECT * FROM transactions WHERE {condition} ORDER BY seq", tuple(where.values()))
        return [dict(row) for row in found]


def claimed(daemon) -> list[str]:
    """Return the transactions that the keys are of, the latest last."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db")) as db:
        return [id_ for (id_,) in db.execute("SELECT transaction_id FROM idempotency_keys ORDER BY transaction_id")]


def memories(daemon) -> list[str | None]:
    """Return what was noted for each key before its first try."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db")) as db:
        return [memory for (memory,) in db.execute("SELECT memory FROM idempotency_keys")]


def row(daemon, answer) -> dict:
    """Return the transaction that a 202 is about."""
    assert answer.status == 202, (answer.status, answer.body)
    return rows(daemon, id=answer.data["transaction"])[0]


@contextmanager
def locked(daemon):
    """Hold the right to write to the database of *daemon*, as another program would."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def lose_leases(daemon) -> None:
    """Let whoever works on a request with a key be taken for lost."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db", timeout=10)) as db, db:
        db.execute("UPDATE idempotency_keys SET leased_until = 0 WHERE leased_until IS NOT NULL")


@contextmanager
def refusing_transactions(daemon):
    """Let the database of *daemon* take keys and no transactions."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db", timeout=10)) as db:
        with db:
            db.execute("CREATE TRIGGER no_more BEFORE INSERT ON transactions BEGIN SELECT RAISE(ABORT, 'no more'); END")
        yield
        with db:
            db.execute("DROP TRIGGER no_more")


@contextmanager
def slow_to_note_keys(daemon):
    """Let whoever notes a key in the database of *daemon* be at it for some seconds."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db", timeout=10)) as db:
        with db:
            db.execute(
                "CREATE VIEW many AS WITH RECURSIVE counted(n) AS "
                "(SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 15000000) SELECT n FROM counted"
            )
            db.execute("CREATE TRIGGER slow BEFORE INSERT ON idempotency_keys BEGIN SELECT count(*) FROM many; END")
        yield
        with db:
            db.execute("DROP TRIGGER slow")
            db.execute("DROP VIEW many")


def is_being_written(daemon) -> bool:
    """Tell whether somebody writes to the database of *daemon*, and has been at it for a twentieth of a second."""
    with closing(sqlite3.connect(daemon.store / "entrepot.db", isolation_level=None, timeout=0.05)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        db.execute("ROLLBACK")
        return False


def settled(daemon, id_: str, state: str, applied: str, *, answer=None, problem=None, reason=None) -> None:
    """Settle the transaction *id_* as a courier would."""
    mine = rows(daemon, id=id_)[0]
    database = open_database(f"sqlite:///{daemon.store}/entrepot.db")
    now = time.time() + 60  # whatever is due within a minute
    with closing(database), database.writing() as connection:
        leases = claim(connection, [ClaimRequest(mine["upstream"], 500, "a test", 30.0)], now)[0]
        lease = next(lease for lease in leases if lease.id == id_)
        outcome = "delivered" if state == "delivered" else "record"
        attempt = Attempt("a test", now, now, outcome, answer.status if answer else problem["status"])
        done = Settlement(lease.seq, lease.token, state, applied, attempt, None, reason, answer, problem)
        others = [
            Settlement(other.seq, other.token, "queued", "no", due_at=now + 600)
            for other in leases
            if other is not lease
        ]
        assert all(settle(connection, [done, *others], now))


def record_answer(status: int, data) -> KeptAnswer:
    """Return what a courier keeps of a delivery of a record."""
    return KeptAnswer(status, b"content-type: application/json\r\n", json.dumps(data).encode())


def fixture():
    """Return the fixture of a daemon of a module's own."""

    @pytest.fixture(scope="module")
    def own(make_daemon, upstream, closed_port):
        return make_daemon(lambda daemon: {"ledger.yaml": documents(upstream.url, closed_port, daemon.secret)})

    return own
