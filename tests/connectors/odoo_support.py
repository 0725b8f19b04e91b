"""What the tests of the Odoo connector share: a small Post over real sockets, a scripted server, and mappings."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from entrepot.connectors.base import Caller, Field, ModelMapping, Upstream, Withdrawn
from entrepot.errors import UpstreamTimeout, UpstreamUnavailable

URL = os.environ.get("ODOO_URL", "http://127.0.0.1:8069")
os.environ.setdefault("ODOO_PASSWORD", "admin")

PARTNERS = ModelMapping(
    "res.partner",
    (
        Field("name", ("name",), required=True),
        Field("email", ("email",)),
        Field("note", ("comment",), "text"),
        Field("street", ("street",)),
        Field("kind", ("type",), "selection"),
        Field("company", ("is_company",), "boolean"),
        Field("colour", ("color",), "integer"),
        Field("birthday", ("date",), "date"),
        Field("parent", ("parent_id",), "many2one"),
        Field("country", ("country_id", "code"), relation="res.country"),
        Field("tags", ("category_id", "name"), relation="res.partner.category"),
        Field("image", ("image_1920",), "binary"),
        Field("changed", ("write_date",), "datetime", read_only=True),
    ),
    operations=("list", "read", "create", "update", "delete"),
    search=("name", "email"),
    sort=("name", "id"),
)
ORDERS = ModelMapping(
    "sale.order",
    (
        Field("reference", ("client_order_ref",), required=True),
        Field("number", ("name",), read_only=True),
        Field("state", ("state",), "selection", read_only=True),
        Field("total", ("amount_total",), "monetary", read_only=True),
        Field("ordered", ("date_order",), "datetime"),
        Field(
            "lines",
            ("order_line",),
            "one2many",
            relation="sale.order.line",
            fields=(
                Field("id", ("id",), "integer", read_only=True),
                Field("product", ("product_id", "default_code"), relation="product.product"),
                Field("quantity", ("product_uom_qty",), "float"),
                Field("price", ("price_unit",), "float", has_default=True, default=0),
                Field("discount", ("discount",), "float"),
            ),
        ),
    ),
    operations=("list", "read", "create", "update", "delete"),
    where=[["partner_id", "=", "{partner.contact}"]],
    set={"partner_id": "{partner.contact}"},
    key="reference",
)


@dataclass
class Reply:
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class SocketPost:
    """One connection for each POST, as Odoo wants it; remembers what it sent."""

    def __init__(self, url: str = URL) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.sent: list[dict] = []

    async def __call__(self, path, body, headers, *, deadline, is_void=None):
        await asyncio.sleep(0)  # A link has a queue for its places.
        if is_void is not None and is_void():
            raise Withdrawn
        self.sent.append(json.loads(body))
        try:
            async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                return await self._send(path, body, headers)
        except TimeoutError as error:
            raise UpstreamTimeout("no answer in time") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise UpstreamUnavailable("cannot be reached") from error

    def methods(self) -> list[str]:
        """Return what was asked for: the method of the service, or of the model."""
        calls = [sent["params"] for sent in self.sent]
        return [call["args"][4] if call["service"] == "object" else call["method"] for call in calls]

    async def _send(self, path, body, headers):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        head = b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n"
        writer.write(head % (path.encode(), self.host.encode(), lines, len(body)) + body)
        try:
            answer_head = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        return Reply(int(answer_head.split(b" ", 2)[1]), [], answer)


@asynccontextmanager
async def scripted(answer: Callable[[dict], bytes | dict | tuple[int, bytes]]):
    """Serve JSON-RPC on a free port: *answer* gets the request and returns result or error, raw bytes, or a status."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        request = json.loads(await reader.readexactly(length))
        said = answer(request)
        status, body = said if isinstance(said, tuple) else (200, said)
        if isinstance(body, dict):
            body = json.dumps({"jsonrpc": "2.0", "id": request["id"], **body}).encode()
        writer.write(b"HTTP/1.0 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield SocketPost(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        await server.wait_closed()


def upstream(**changes) -> Upstream:
    values = {
        "name": "erp",
        "kind": "odoo",
        "url": URL,
        "database": os.environ.get("ODOO_DATABASE", "demo"),
        "login": os.environ.get("ODOO_LOGIN", "admin"),
        "secret": "env:ODOO_PASSWORD",
    }
    return Upstream(**{**values, **changes})


def caller(transaction_id: str = "", context: dict | None = None, seconds: float = 20, **values) -> Caller:
    names = {name.replace("partner_", "partner."): value for name, value in values.items()}
    moment = time.monotonic() + seconds
    return Caller(str(uuid4()), transaction_id or str(uuid4()), moment, names, context or {})


def exchange(title: str) -> dict:
    """Return the exchange with the real Odoo that was recorded under *title*."""
    lines = Path(__file__).with_name("odoo_exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    return next(entry for entry in map(json.loads, lines) if entry["title"] == title)
