"""Use one token after another on kept connections, each until it is let in nowhere any more.

    python users.py PORT PATH CONNECTIONS

Prints ``connected``. Then it reads a token from each line of standard input, prints ``ready`` once every connection was
let in with it, and, when every connection is refused, JSON: ``last_ok`` (when the last answer was 200, by
``time.monotonic``), ``answers`` (how many were 200), ``others`` (how many were neither 200 nor 401).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import uvloop

# How long a connection rests between an answer and its next request: 16 of them stay below the rate of a client.
PAUSE_S = 0.005


@dataclass(slots=True)
class Use:
    """What came of one token, by the number of the connection."""

    count: int
    let_in: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    last_ok: float = 0.0
    answers: int = 0
    others: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether every connection was let in."""
        return len(self.let_in) == self.count

    @property
    def is_over(self) -> bool:
        """Whether every connection is refused."""
        return len(self.refused) == self.count

    def note(self, number: int, status: bytes) -> None:
        """Take note of an answer to the connection *number*."""
        was_ready = self.is_ready
        if status == b"200":
            self.last_ok = time.monotonic()
            self.answers += 1
            self.let_in.add(number)
            self.refused.discard(number)
        elif status != b"401":
            self.others += 1
        elif was_ready:
            self.refused.add(number)
        if self.is_ready and not was_ready:
            print("ready", flush=True)


class User:
    """Kept connections to one gateway."""

    def __init__(self, port: int, path: str, count: int) -> None:
        self._port, self._path, self._count = port, path, count
        self._peers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self) -> None:
        """Open the connections."""
        self._peers = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(self._count)]

    async def use(self, token: str) -> Use:
        """Use *token* on all connections until all are refused, each after it was let in."""
        use = Use(self._count)
        request = f"GET {self._path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        await asyncio.gather(*(self._use(use, number, request) for number in range(self._count)))
        return use

    async def _use(self, use: Use, number: int, request: bytes) -> None:
        reader, writer = self._peers[number]
        # Also after its own refusal: none may be let in again.
        while not use.is_over:
            writer.write(request)
            use.note(number, await _status(reader))
            await asyncio.sleep(PAUSE_S)


async def _status(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            await reader.readexactly(int(line[15:]))
    return head[9:12]


async def main(port: int, path: str, count: int) -> None:
    """Serve standard input."""
    user = User(port, path, count)
    await user.connect()
    print("connected", flush=True)
    loop = asyncio.get_running_loop()
    while token := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        use = await user.use(token)
        print(json.dumps({"last_ok": use.last_ok, "answers": use.answers, "others": use.others}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
