"""``memory``: what an idle worker takes, and what an idle kept connection adds."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from bench import Bench, start_upstream
from children import memory_mib
from figures import Figure, Result, Table
from subject import Subject, relays, start_subject

_STEPS = (0, 500, 1000, 2000, 4000)
_SETTLE_S = 1.0


def measure(bench: Bench, result: Result) -> None:
    """Add the memory of an idle worker, with its growth by idle connections. Each connection has asked once."""
    upstream = start_upstream(bench)
    subject = start_subject(bench, "gateway", relays(upstream.url))
    time.sleep(_SETTLE_S)
    rows = []
    with ExitStack() as stack:
        open_now = 0
        for step in _STEPS:
            for _ in range(step - open_now):
                _open(stack, subject)
            open_now = step
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


def _open(stack: ExitStack, subject: Subject) -> None:
    peer = stack.enter_context(socket.create_connection(("127.0.0.1", subject.port), timeout=10))
    peer.sendall(
        f"GET /v1/items/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {subject.first_token()}\r\n\r\n".encode()
    )
    peer.recv(65_536)
