"""A way to the real Odoo that loses requests and answers as a test says, between real sockets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal
from urllib.parse import urlsplit

from odoo_support import URL, SocketPost, caller, upstream

from entrepot.connectors.base import Earlier
from entrepot.connectors.odoo.connector import OdooConnector

Loss = Literal["request", "answer"]


class Lossy:
    """Passes requests on to Odoo; *reached* counts, by method, those that Odoo was sent and answered."""

    def __init__(self) -> None:
        self.losses: dict[str, Loss] = {}
        self.reached: Counter[str] = Counter()

    def lose(self, what: Loss, method: str) -> None:
        """Lose the next request for *method*, or the answer to it."""
        self.losses[method] = what

    async def __call__(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        params = json.loads(body)["params"]
        method = params["args"][4] if params["service"] == "object" else params["method"]
        loss = self.losses.pop(method, None)
        if loss != "request":
            answer = await self._asked(head + body)
            self.reached[method] += 1
            if loss is None:
                writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async def _asked(self, request):
        odoo = urlsplit(URL)
        reader, writer = await asyncio.open_connection(odoo.hostname, odoo.port or 80)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


class Transaction:
    """One transaction as a courier tries it again: the same id each time, with what the first try noted."""

    def __init__(self, **values) -> None:
        self._first = caller(**values)
        self._noted: list[dict] = []

    @property
    def noted(self) -> list[dict]:
        """What was noted, each time."""
        return self._noted

    def first(self):
        """Return the caller of the first try."""
        return replace(self._first, remember=self._remember)

    def again(self):
        """Return the caller of a try after one whose outcome is not known."""
        return replace(self.first(), earlier=Earlier(self._noted[-1] if self._noted else {}))

    async def _remember(self, facts) -> None:
        self._noted.append(json.loads(json.dumps(facts)))


@asynccontextmanager
async def _connected():
    lossy = Lossy()
    server = await asyncio.start_server(lossy, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield OdooConnector(upstream(), SocketPost(url)), lossy


def with_lossy(work):
    """Run ``work(connector, lossy)`` and return what it returns."""

    async def main():
        async with _connected() as (connector, lossy):
            return await work(connector, lossy)

    return asyncio.run(main())
