"""POST a body at a fixed pace, whether or not the answers keep up, and print how long they took.

    python paced.py PORT PATH TOKENS BODY RATE SECONDS

The time of an answer counts from the moment at which its request was due, so that a server which stalls the client is
not spared (Gil Tene, "How NOT to Measure Latency"). Prints JSON: ``sent``, ``bad``, ``p50_ms``, ``p99_ms``, ``max_ms``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path

import uvloop

CONNECTIONS = 64


class Peer(asyncio.Protocol):
    """One connection; ``due`` is when the request that it waits for should have been sent, 0 when it is free."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.due = 0.0
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, ended, body = self.data.partition(b"\r\n\r\n")
        if ended and len(body) >= _length(head):
            self.data = b""
            self.pace.answered(self, ok=head[9:12] == b"202")

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.due:
            self.pace.answered(self, ok=False)


class Pace:
    """Gives each request that is due to a connection that is free."""

    def __init__(self, requests: list[bytes], rate: float, seconds: float) -> None:
        self.requests, self.rate, self.count = requests, rate, int(rate * seconds)
        self.free: deque[Peer] = deque()
        self.waiting: deque[float] = deque()
        self.took: list[float] = []
        self.bad = self.sent = 0
        self.done = asyncio.Event()

    def send(self, due: float) -> None:
        self.waiting.append(due)
        self.pump()

    def pump(self) -> None:
        while self.waiting and self.free:
            peer = self.free.popleft()
            peer.due = self.waiting.popleft()
            peer.transport.write(self.requests[self.sent % len(self.requests)])
            self.sent += 1

    def answered(self, peer: Peer, *, ok: bool) -> None:
        self.took.append(time.perf_counter() - peer.due)
        self.bad += not ok
        peer.due = 0.0
        self.free.append(peer)
        self.pump()
        if len(self.took) == self.count:
            self.done.set()

    async def run(self) -> None:
        begun, number = time.perf_counter(), 0
        while number < self.count:
            while number < self.count and begun + number / self.rate <= time.perf_counter():
                self.send(begun + number / self.rate)
                number += 1
            await asyncio.sleep(0.0005)
        await asyncio.wait_for(self.done.wait(), 30)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line[15:])
    return 0


async def main(port: int, path: str, tokens: list[str], body: bytes, rate: float, seconds: float) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    requests = [f"{head}Authorization: Bearer {token}\r\n\r\n".encode() + body for token in tokens]
    pace = Pace(requests, rate, seconds)
    for _ in range(CONNECTIONS):
        _, peer = await asyncio.get_running_loop().create_connection(lambda: Peer(pace), "127.0.0.1", port)
        pace.free.append(peer)
    await pace.run()
    took = sorted(pace.took)
    found = {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100], "max_ms": took[-1]}
    print(json.dumps({"sent": pace.sent, "bad": pace.bad, **{name: value * 1e3 for name, value in found.items()}}))


if __name__ == "__main__":
    port, path, tokens, body, rate, seconds = sys.argv[1:]
    uvloop.run(
        main(int(port), path, Path(tokens).read_text().split(), Path(body).read_bytes(), float(rate), float(seconds))
    )
