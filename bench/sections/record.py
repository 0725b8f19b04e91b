"""``record``: what the gateway adds to the time of one Odoo record without relations that it does not keep.

Direct calls and calls through the gateway take turns, each over a fresh connection, because Odoo keeps none.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from bench import Bench
from figures import BenchError, Figure, Goal, Result, Table, median
from odoo import Odoo, catalog, find_odoo
from subject import Subject, start_subject

PAIRS_A_ROUND = 60
_GOAL = Goal(2.0, 1.0, upward=False)


def measure(bench: Bench, result: Result) -> None:
    """Add the difference of the medians, in milliseconds."""
    odoo = find_odoo()
    subject = start_subject(bench, "gateway", catalog(bench, odoo))
    record = odoo.records([], limit=1, order="id")[0]["id"]
    direct, through = _direct(odoo, record), _through(subject, record)
    for _ in range(10):
        direct()
        through()
    times = [(direct(), through()) for _ in range(PAIRS_A_ROUND * bench.rounds)]
    plain, added = median(one for one, _ in times), median(two - one for one, two in times)
    total = median(two for _, two in times)
    note = f"median of the differences of pairs {added * 1000:.2f} ms"
    result.add(
        Figure("added to one uncached Odoo record", (total - plain) * 1000, " ms", _GOAL, note),
        Table(
            "One record of Odoo, over fresh connections", ("", "median ms", "p90 ms"),
            (("direct", *_shown([one for one, _ in times])), ("gateway", *_shown([two for _, two in times]))),
        ),
    )  # fmt: skip


def _shown(times: list[float]) -> tuple[str, str]:
    return f"{median(times) * 1000:.2f}", f"{sorted(times)[len(times) * 9 // 10] * 1000:.2f}"


def _direct(odoo: Odoo, record: int) -> Callable[[], float]:
    url = urlsplit(odoo.url)
    body = odoo.body([["id", "=", record]], limit=2)
    head = f"POST /jsonrpc HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    return lambda: _took_s(url.hostname or "", url.port or 80, request)


def _through(subject: Subject, record: int) -> Callable[[], float]:
    requests = subject.requests(f"/v1/plain/{record}")
    return lambda: _took_s("127.0.0.1", subject.port, next(requests)[:-2] + b"Connection: close\r\n\r\n")


def _took_s(host: str, port: int, request: bytes) -> float:
    """Send *request* on a fresh connection; return the seconds until the answer is whole."""
    begin = time.perf_counter()
    with socket.create_connection((host, port), timeout=20) as peer:
        peer.sendall(request)
        answer = b""
        while piece := peer.recv(65_536):
            answer += piece
        took_s = time.perf_counter() - begin
    if answer[9:12] != b"200" or b'"error"' in answer:
        raise BenchError(f"the answer is {answer[:300]!r}")
    return took_s
