"""An HTTP upstream in a process of its own, which writes every request to its log before it answers.

    python fault_witness.py PORT LOG

The log is the truth about what was applied: it outlives every process of the gateway. How the witness behaves is set
by ``PUT /-/mode`` with a JSON object: ``mode`` is one of those in ``MODES``, ``share`` the part of the requests that it
holds for (1), ``seconds`` what it takes, ``seed`` makes the choice repeatable. A body with ``"poison": STATUS`` is
always answered with that status, one with ``"poison": MODE`` always treated so.
"""

import asyncio
import json
import os
import random
import sys
import time
from contextlib import suppress
from urllib.parse import parse_qsl

MODES = (
    "ok",  # 200 at once
    "slow",  # 200 after some seconds
    "closes",  # applied; the connection closes without an answer
    "fails",  # applied; 500
    "hangs",  # applied; no answer
    "refuses",  # not applied; 503
    "resets",  # not applied; the connection is reset when it has been accepted
    "flaps",  # ok in even seconds, resets in odd ones
)
REASONS = {200: "OK", 422: "Unprocessable Content", 500: "Internal Server Error", 503: "Service Unavailable"}


class Behaviour:
    """What the witness does with a request."""

    def __init__(self):
        self.mode, self.share, self.seconds = "ok", 1.0, 0.0
        self._random = random.Random(0)

    def change(self, document: dict) -> None:
        """Behave as *document* says from now on."""
        assert document["mode"] in MODES, document
        self.mode, self.share = document["mode"], document.get("share", 1.0)
        self.seconds = document.get("seconds", 0.0)
        self._random = random.Random(document.get("seed", 0))

    def now(self) -> str:
        """Return the mode for the request that has come."""
        if self.share < 1.0 and self._random.random() >= self.share:
            return "ok"
        if self.mode == "flaps":
            return "resets" if int(time.time()) % 2 else "ok"
        return self.mode


class Peer(asyncio.Protocol):
    """One connection. Requests are small, have a length and are not pipelined."""

    def __init__(self, behaviour: Behaviour, log: int):
        self._behaviour, self._log = behaviour, log
        self._data = b""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._data += data
        head, ended, rest = self._data.partition(b"\r\n\r\n")
        if not ended:
            return
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        length = int(fields.get("content-length", 0))
        if len(rest) < length:
            return
        self._data = rest[length:]
        self._take(line.split(" ")[0], line.split(" ")[1], fields, rest[:length])

    def _take(self, method: str, target: str, fields: dict[str, str], body: bytes) -> None:
        if target == "/-/mode":
            self._behaviour.change(json.loads(body))
            self._answer(200)
            return
        mode = self._behaviour.now()
        if mode == "resets":
            self._transport.abort()
            return
        path, _, query = target.partition("?")
        document = json.loads(body) if body else dict(parse_qsl(query))
        if mode == "refuses":
            self._answer(503)
            return
        self._note(method, path, fields, document, mode)
        poison = document.get("poison", 500 if mode == "fails" else 200)
        if poison in MODES:
            self._behave(200, poison)
        else:
            self._behave(poison, mode)

    def _note(self, method: str, path: str, fields: dict[str, str], document: dict, mode: str) -> None:
        seen = {
            "at": time.time(), "method": method, "path": path, "id": fields.get("idempotency-key"), "mode": mode,
            "number": int(document.get("number", -1)), **{name: document.get(name) for name in ("key", "lane")},
        }  # fmt: skip
        os.write(self._log, json.dumps(seen).encode() + b"\n")

    def _behave(self, status: int, mode: str) -> None:
        if mode == "closes":
            self._transport.close()
        elif mode == "slow":
            asyncio.get_running_loop().call_later(self._behaviour.seconds, self._answer, status)
        elif mode != "hangs":
            self._answer(status)

    def _answer(self, status: int) -> None:
        if not self._transport.is_closing():
            body = b'{"applied": true}'
            head = f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}\r\nContent-Type: application/json\r\n"
            self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def main(port: int, path: str) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    behaviour = Behaviour()
    server = await asyncio.get_running_loop().create_server(
        lambda: Peer(behaviour, log), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
