"""A second way into the real Odoo, beside the connector under test, to make, compare and remove records."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request

from odoo_support import URL, SocketPost, upstream

from entrepot.connectors.odoo.connector import OdooConnector

CREDENTIALS = [os.environ.get("ODOO_DATABASE", "demo"), 2, os.environ["ODOO_PASSWORD"]]


def odoo(model, method, *args, **kwargs):
    """Call Odoo directly; raises AssertionError with Odoo's own text."""
    params = {"service": "object", "method": "execute_kw", "args": [*CREDENTIALS, model, method, args, kwargs]}
    request = urllib.request.Request(
        f"{URL}/jsonrpc",
        json.dumps({"jsonrpc": "2.0", "id": 1, "params": params}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer = json.load(reply)
    assert "error" not in answer, answer["error"]["data"]["message"]
    return answer.get("result")


def remove(model, *ids, context=None):
    """Delete records of a test, archived ones too; some may be gone already."""
    left = odoo(model, "search", [["id", "in", list(ids)]], context={**(context or {}), "active_test": False})
    if left:
        odoo(model, "unlink", left)


def with_connector(work, **changes):
    """Run ``work(connector, post)`` and return what it returns."""

    async def main():
        post = SocketPost()
        return await work(OdooConnector(upstream(**changes), post), post)

    return asyncio.run(main())
