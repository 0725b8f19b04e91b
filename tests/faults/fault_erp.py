"""A stand-in ERP that may be killed, its catalog, and what stands in its file, read past all code of ours."""

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from fault_catalog import RETRY, WRITE
from running import START_S, eventually

from ports import held_port

HERE = Path(__file__).parent
PASSWORD = "s3cret-of-the-erp"
COMPANY = 14
PRODUCT = "FURN_7777"
# A trigger writes in the transaction of the change that it is about: what was undone is not in the journal.
JOURNAL = """\
CREATE TABLE journal (number INTEGER PRIMARY KEY, what TEXT, reference TEXT, text TEXT);
CREATE TRIGGER order_made AFTER INSERT ON sale_order
BEGIN INSERT INTO journal (what, reference, text) VALUES ('made', new.client_order_ref, new.note); END;
CREATE TRIGGER order_noted AFTER UPDATE OF note ON sale_order
BEGIN INSERT INTO journal (what, reference, text) VALUES ('noted', new.client_order_ref, new.note); END;
CREATE TRIGGER order_gone AFTER DELETE ON sale_order
BEGIN INSERT INTO journal (what, reference, text) VALUES ('gone', old.client_order_ref, old.note); END;
CREATE TRIGGER line_made AFTER INSERT ON sale_order_line
BEGIN INSERT INTO journal (what, reference, text) VALUES ('line', NULL, new.name); END;
"""


class Erp:
    """The stand-in's process and its file, in which a journal tells every change of an order and every new line."""

    def __init__(self, directory: Path):
        self._directory = directory / "erp"
        self._directory.mkdir()
        self.secret = directory / "erp-secret"
        self.secret.write_text(PASSWORD, encoding="utf-8")
        self.port = held_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        with closing(sqlite3.connect(self._file)) as database:
            database.executescript(JOURNAL)

    def start(self) -> None:
        """Start it, or start it again at the same place."""
        command = [sys.executable, HERE / "fault_standin.py", str(self.port), self._directory, PASSWORD]
        self._process = subprocess.Popen(command)
        assert eventually(self._listens, START_S), "the stand-in does not start"

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def ask(self, statement: str) -> list[tuple]:
        """Return the rows of its database that answer *statement*."""
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(statement).fetchall()

    def orders(self) -> list[tuple[str, str, list[str]]]:
        """Return reference, note and texts of the lines of each order that partners have made, in order."""
        rows = self.ask(
            "SELECT o.client_order_ref, o.note, (SELECT json_group_array(l.name) FROM sale_order_line l"
            " WHERE l.order_id = o.id) FROM sale_order o WHERE o.client_order_ref LIKE 'fault-%'"
        )
        return sorted((reference, note, sorted(json.loads(lines))) for reference, note, lines in rows)

    def journal(self) -> list[tuple[str, str | None, str]]:
        """Return what was changed, as what, reference and text, in order."""
        return self.ask("SELECT what, reference, text FROM journal ORDER BY number")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def _file(self) -> Path:
        return self._directory / "standin.db"


def order_fields() -> dict:
    """Return the fields of an order whose lines have a text of their own."""
    lines = {
        "product": {"from": "product_id.default_code", "required": True},
        "quantity": {"from": "product_uom_qty", "required": True},
        "price": {"from": "price_unit", "required": True},
        "text": {"from": "name", "required": True},
    }
    return {
        "reference": {"from": "client_order_ref", "required": True},
        "note": "note",
        "lines": {"from": "order_line", "fields": lines},
    }


def erp_catalog(erp: Erp) -> dict:
    """Return the catalog over *erp*: orders by the partner's reference, in mode ``queue`` and in mode ``auto``."""
    orders = {
        "upstream": "erp", "model": "sale.order", "key": "reference", "set": {"partner_id": COMPANY},
        "fields": order_fields(), "operations": ["read", "create", "update", "delete"],
        "scopes": {"read": WRITE, "write": WRITE}, "retry": RETRY,
    }  # fmt: skip
    upstream = {
        "kind": "odoo", "url": erp.url, "database": "standin", "login": "gateway", "secret": f"file:{erp.secret}",
        "timeout": "5s", "connect_timeout": "5s", "settle": "1s", "concurrency": 4,
        "breaker": {"failures": 5, "open": "300ms"},
    }  # fmt: skip
    return {
        "upstreams": {"erp": upstream},
        "endpoints": {
            "orders": {**orders, "path": "/v1/orders", "write": "queue"},
            "ready-orders": {**orders, "path": "/v1/ready-orders", "write": "auto", "patience": "300ms"},
        },
    }
