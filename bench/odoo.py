"""The real Odoo of the Odoo sections: where it is, and how it is asked without a gateway.

``ODOO_URL``, ``ODOO_DB``, ``ODOO_LOGIN`` and ``ODOO_PASSWORD`` name it. Nothing in it is changed.
"""

from __future__ import annotations

import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any

from bench import Bench
from figures import BenchError, Skipped
from subject import SCOPE

FIELDS = ("city", "email", "id", "name", "phone", "write_date")
PAGE = 25


@dataclass(frozen=True, slots=True)
class Odoo:
    """An Odoo that has answered, and the user id that it gave the account."""

    url: str
    database: str
    login: str
    password: str
    uid: int

    def body(self, domain: list[Any], **limits: Any) -> bytes:
        """Return the JSON-RPC body of a ``search_read`` of contacts, with the fields that the endpoints have."""
        keywords = {"fields": list(FIELDS), "context": {"lang": "en_US", "tz": "UTC"}, **limits}
        work = ["res.partner", "search_read", [domain], keywords]
        return _call("object", "execute_kw", [self.database, self.uid, self.password, *work])

    def records(self, domain: list[Any], **limits: Any) -> list[dict[str, Any]]:
        """Return what that ``search_read`` finds."""
        return _ask(self.url, self.body(domain, **limits))


def find_odoo() -> Odoo:
    """Return the Odoo that the environment names. Raises Skipped when it does not answer."""
    url = os.environ.get("ODOO_URL", "http://127.0.0.1:8069").rstrip("/")
    database = os.environ.get("ODOO_DB", "demo")
    login, password = os.environ.get("ODOO_LOGIN", "admin"), os.environ.get("ODOO_PASSWORD", "admin")
    try:
        uid = _ask(url, _call("common", "authenticate", [database, login, password, {}]))
    except OSError as exc:
        raise Skipped(f"no Odoo answers at {url} (ODOO_URL): {exc}") from exc
    if not uid:
        raise Skipped(f"the Odoo at {url} refuses {login!r} (ODOO_DB, ODOO_LOGIN, ODOO_PASSWORD)")
    return Odoo(url, database, login, password, uid)


def catalog(bench: Bench, odoo: Odoo) -> str:
    """Return the catalog of the Odoo sections: contacts /v1/cached (kept for an hour) and /v1/plain (never kept)."""
    secret = bench.home / "secret"
    secret.write_text(odoo.password)
    secret.chmod(0o600)
    return f"""upstreams:
  erp: {{kind: odoo, url: "{odoo.url}", database: {odoo.database}, login: {odoo.login}, secret: "file:{secret}"}}
endpoints:
{_endpoint("cached", "cache: {fresh: 1h}, ")}{_endpoint("plain", "")}"""


def _endpoint(name: str, cache: str) -> str:
    fields = "{name: name, email: email, phone: phone, city: city, updated: write_date}"
    return f"""  {name}: {{path: /v1/{name}, upstream: erp, model: res.partner, {cache}scopes: [{SCOPE}],
    fields: {fields}}}
"""


def _call(service: str, method: str, args: list[Any]) -> bytes:
    params = {"service": service, "method": method, "args": args}
    return json.dumps({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}).encode()


def _ask(url: str, body: bytes) -> Any:
    request = urllib.request.Request(f"{url}/jsonrpc", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        document = json.load(answer)
    if "error" in document:
        raise BenchError(f"Odoo says: {document['error']}")
    return document["result"]
