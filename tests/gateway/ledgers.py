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
    http = {"kind": "http", "url": upstream, "timeout": "2s", "connect_timeout": "500ms", "settle": "3s"}
    auto = {"write": "auto", "patience": "300ms"}
    orders = {**MODELS["orders"], "path": "/v1/auto-orders", "aliases": ["/v1/later-orders"], "write": "auto"}
    confirm = {**MODELS["confirm-order"], "path": "/v1/auto-orders/{id}/confirm", "write": "auto"}
    hasty = {**MODELS["orders"], "path": "/v1/hasty-orders", "upstream": "hanging-erp", "set": {}, **auto}
    contacts = {**MODELS["contacts"], "path": "/v1/queued-contacts", "aliases": ["/v1/queued-people"], "write": "queue"}
    return {
        "upstreams": {
            "patient": http,
            "fragile": {**http, "breaker": {"failures": 1, "open": "20s"}},
            "tight": {**http, "concurrency": 1, "waiting": 1, "wait": "1500ms"},
            "hanging-erp": {
                **http,
                "kind": "odoo",
                "database": "standin",
                "login": "gateway",
                "secret": f"file:{secret}",
                "protocol": "jsonrpc",
            },
            "absent": {**http, "url": f"http://127.0.0.1:{closed_port}", "breaker": {"failures": 1000}},
        },
        "endpoints": {
            "queued": relay("/queued/{rest}", "patient", write="queue"),
            "auto": relay("/auto/{rest}", "patient", **auto),
            "auto-any": relay("/any/{rest}", "patient", order="none", **auto),
            "auto-fragile": relay("/fragile/{rest}", "fragile", order="none", **auto),
            "auto-tight": relay("/tight/{rest}", "tight", order="none", **auto),
            "auto-absent": relay("/absent/{rest}", "absent", **auto),
            "plain": relay("/plain/{rest}", "patient"),
            "needs-key": relay("/needs-key/{rest}", "patient", idempotency="required"),
            "hasty-orders": {**hasty, "fields": {"note": {"from": "note", "type": "text"}}, "key": "id", "where": []},
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


def prepare(daemon, upstream, closed_port) -> None:
    """Bring ``documents`` in, and make the tokens of its clients."""
    added = documents(upstream.url, closed_port, str(daemon.directory / "erp-secret"))
    daemon.apply("ledger.yaml", added)
    for partner, entry in added["partners"].items():
        for client, spec in entry["clients"].items():
            daemon.tokens[client] = daemon.mint.client(client, partner, spec["scopes"])
    until = time.monotonic() + 10
    while daemon.call("GET", "/v1/plain/x", token="shop").status != 200 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.6)


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


def settled(daemon, id_: str, state: str, applied: str, *, answer=None, problem=None) -> None:
    """Settle the transaction *id_* as a courier would."""
    mine = rows(daemon, id=id_)[0]
    database = open_database(f"sqlite:///{daemon.store}/entrepot.db")
    now = time.time() + 60  # whatever is due within a minute
    with closing(database), database.writing() as connection:
        leases = claim(connection, [ClaimRequest(mine["upstream"], 500, "a test", 30.0)], now)[0]
        lease = next(lease for lease in leases if lease.id == id_)
        outcome = "delivered" if state == "delivered" else "record"
        attempt = Attempt("a test", now, now, outcome, answer.status if answer else problem["status"])
        done = Settlement(lease.seq, lease.token, state, applied, attempt, answer=answer, problem=problem)
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
        daemon = make_daemon()
        prepare(daemon, upstream, closed_port)
        return daemon

    return own
