"""The ERP behind a demonstration: the stand-in or a real Odoo, and what of it the sample catalog and the calls name."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from entrepot.chassis.errors import Error
from entrepot.standin.server import StandIn

TIMEOUT_S = 20.0


class ErpError(Error):
    """The ERP of the demonstration does not answer, or not as Odoo 14 does."""

    code, title = "demo-erp", "The ERP cannot be used"


@dataclass(frozen=True, slots=True)
class Account:
    """Where an Odoo is and how to enter it; *password_file* holds the password or API key."""

    url: str
    database: str
    login: str
    password_file: Path

    @property
    def password(self) -> str:
        """The password, read anew."""
        return self.password_file.read_text(encoding="utf-8").strip()


@dataclass(frozen=True, slots=True)
class Example:
    """The records that the sample calls name: a company, one of its people, and codes of products.

    *version* is what the ERP says of itself. *products* is empty when it has no sale orders.
    """

    version: str
    company_id: int
    company: str
    person_id: int
    person: str
    products: tuple[str, ...]


@contextmanager
def stand_in(directory: Path, password_file: Path) -> Iterator[Account]:
    """Run the stand-in ERP with its data in *directory*, and write its new password to *password_file*."""
    password = secrets.token_urlsafe(24)
    write_private(password_file, password)
    with StandIn(directory, password=password) as erp:
        yield Account(erp.url, erp.database, erp.login, password_file)


def write_private(path: Path, text: str) -> None:
    """Write *text* to *path*, which only its owner can read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


class Erp:
    """Asks an Odoo what the demonstration needs to know. Raises ErpError for whatever goes wrong."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._user = self._call("common", "authenticate", account.database, account.login, account.password, {})
        if not self._user:
            raise ErpError(f"{account.url} refuses the login {account.login!r} to the database {account.database!r}")

    def example(self) -> Example:
        """Return a company with people (Azure Interior, if there is one), and two products that can be ordered."""
        version = str(self._call("common", "version").get("server_version"))
        company_id, company, person_id, person = self._company()
        products = self._products() if self._has("sale.order") else ()
        return Example(version, company_id, company, person_id, person, products)

    def _company(self) -> tuple[int, str, int, str]:
        ours: list[Any] = [["parent_id.is_company", "=", True], ["is_company", "=", False]]
        azure = [*ours, ["parent_id.name", "=ilike", "Azure Interior%"]]
        fields = ["name", "parent_id"]
        people = self._search("res.partner", azure, fields) or self._search("res.partner", ours, fields)
        if not people:
            raise ErpError(f"{self._account.url} has no company with people (res.partner), which the demo shows")
        company_id, company = people[0]["parent_id"]
        return company_id, company, people[0]["id"], people[0]["name"]

    def _products(self) -> tuple[str, ...]:
        domain = [["sale_ok", "=", True], ["default_code", "!=", False], ["type", "!=", "service"]]
        rows = self._search("product.product", domain, ["default_code"])
        return tuple(row["default_code"] for row in rows)

    def _has(self, model: str) -> bool:
        try:
            self._execute(model, "fields_get", [["id"]], {"attributes": ["type"]})
        except ErpError:
            return False
        return True

    def _search(self, model: str, domain: Sequence[Any], fields: Sequence[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._execute(
            model, "search_read", [domain], {"fields": fields, "limit": 2, "order": "id"}
        )
        return rows

    def _execute(self, model: str, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        account = self._account
        entry = (account.database, self._user, account.password)
        return self._call("object", "execute_kw", *entry, model, method, args, kwargs)

    def _call(self, service: str, method: str, *args: Any) -> Any:
        params = {"service": service, "method": method, "args": args}
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params})
        try:
            answer = json.loads(_post(self._account.url, body))
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise ErpError(f"{self._account.url} does not answer as Odoo does: {exc}") from exc
        if "error" in answer:
            data = answer["error"].get("data") or {}
            raise ErpError(f"{self._account.url} refuses {method}: {data.get('message') or data.get('name')}")
        return answer.get("result")


def _post(url: str, body: str) -> bytes:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/jsonrpc", body, {"Content-Type": "application/json"})
        return connection.getresponse().read()
    finally:
        connection.close()
