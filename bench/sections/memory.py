"""``memory``: what an idle worker takes, and what an idle kept connection adds."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from bench import Bench, start_upstream
from children import memory_mib
from figures import BenchError, Figure, Result, Table
from subject import relays, start_subject

_STEPS = (0, 500, 1000, 2000, 4000)
_SETTLE_S = 1.0


def measure(bench: Bench, result: Result) -> None:
    """Add the memory of an idle worker, with its growth by idle connections. Each connection has asked once."""
    upstream = start_upstream(bench)
    subject = start_subject(bench, "gateway", relays(upstream.url))
    time.sleep(_SETTLE_S)
    rows = []
    requests = subject.requests("/v1/items/1")
    with ExitStack() as stack:
        opened = 0
        for step in _STEPS:
            for _ in range(step - opened):
                _open(stack, subject.port, next(requests))
            opened = step
            time.sleep(_SETTLE_S)
            rows.append((step, *memory_mib(subject.worker)))
    (_, rss, pss), (most, last, _) = rows[0], rows[-1]
    result.add(
        Figure("idle worker, RSS", rss, " MiB"),
        Figure("idle worker, PSS", pss, " MiB", note="pages shared with the master counted by half"),
        Figure("each idle connection", (last - rss) * 1024 / most, " KiB", note=f"mean of {most}"),
        Table(
            "Idle connections", ("connections", "RSS MiB", "PSS MiB"),
            tuple((str(count), f"{rss:.1f}", f"{pss:.1f}") for count, rss, pss in rows),
        ),
    )  # fmt: skip


def _open(stack: ExitStack, port: int, request: bytes) -> None:
    peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    peer.sendall(request)
    if not peer.recv(65_536).startswith(b"HTTP/1.1 200 "):
        raise BenchError("the gateway does not answer a connection that is to be idle")
