"""``slow``: 2 000 requests wait ten seconds for one upstream; what becomes of another upstream's meanwhile.

One worker on processor 0; the waiting, the other load and both upstreams on processor 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench import Bench, Upstream, start_upstream
from children import memory_mib
from figures import BenchError, Figure, Goal, Result, Table, median
from load import Load, Target, drive, refuse_bad
from subject import SCOPE, Subject, start_subject

WAITING = 2000
_ALL_THERE_S = 4.0
_HOLD = Path(__file__).parent.with_name("hold.py")
_P99 = Goal(50, 15, upward=False)
_MEMORY = Goal(300, 150, upward=False)


@dataclass(frozen=True, slots=True)
class _Round:
    """*arriving* is the load while the 2 000 come in, *meanwhile* while all of them wait."""

    arriving: Load
    meanwhile: Load
    rss_mib: float
    pss_mib: float


def measure(bench: Bench, result: Result) -> None:
    """Add p99 of the other upstream, and the worker's memory, while the 2 000 wait."""
    upstream = start_upstream(bench)
    subject = start_subject(bench, "gateway", _catalog(upstream))
    target = subject.target()
    drive(target, 1)
    alone = drive(target, 3)
    before, _ = memory_mib(subject.worker)
    rounds = [_round(subject, target) for _ in range(min(3, bench.rounds))]
    refuse_bad("the other upstream", [load for one in rounds for load in (one.arriving, one.meanwhile)])
    result.add(
        Figure(
            f"{WAITING} requests wait: p99 of another upstream", median(one.meanwhile.p99_ms for one in rounds), " ms",
            _P99, f"alone {alone.p99_ms:.2f} ms",
        ),
        Figure("memory of the worker then, RSS", median(one.rss_mib for one in rounds), " MiB", _MEMORY),
        Figure("memory of the worker then, PSS", median(one.pss_mib for one in rounds), " MiB", _MEMORY),
        Figure("p99 while they come in", median(one.arriving.p99_ms for one in rounds), " ms"),
        Figure("each waiting request", (rounds[0].rss_mib - before) * 1024 / WAITING, " KiB", note="first round"),
        _table(alone, rounds),
    )  # fmt: skip


def _catalog(upstream: Upstream) -> str:
    scopes = f"methods: [GET], scopes: [{SCOPE}]"
    return f"""upstreams:
  up: {{kind: http, url: "{upstream.url}", concurrency: 1024}}
  slow: {{kind: http, url: "{upstream.url}", concurrency: 4000, timeout: 30s}}
endpoints:
  items: {{path: "/v1/items/{{id}}", upstream: up, relay: "/v1/items/{{id}}", {scopes}}}
  slow: {{path: /v1/slow, upstream: slow, relay: /slow, {scopes}}}
"""


def _round(subject: Subject, target: Target) -> _Round:
    command = [sys.executable, str(_HOLD), str(subject.port), "/v1/slow", str(subject.tokens), str(WAITING)]
    with subprocess.Popen(["taskset", "-c", "1", *command], stdout=subprocess.PIPE, text=True) as waiting:
        try:
            arriving = drive(target, 2)
            _wait_for_all(subject)
            meanwhile = drive(target, 3)
            rss, pss = memory_mib(subject.worker)
            left = _in_flight(subject)
            said, _ = waiting.communicate(timeout=30)
        except BaseException:
            waiting.kill()
            raise
    if left < WAITING or said.split() != [str(WAITING)]:
        raise BenchError(f"{left} of {WAITING} requests waited to the end, and answered with 200 were {said.strip()}")
    return _Round(arriving, meanwhile, rss, pss)


def _wait_for_all(subject: Subject) -> None:
    end = time.monotonic() + _ALL_THERE_S
    while _in_flight(subject) < WAITING:
        if time.monotonic() > end:
            raise BenchError(f"only {_in_flight(subject)} of {WAITING} requests wait")
        time.sleep(0.05)


def _in_flight(subject: Subject) -> int:
    with urllib.request.urlopen(f"{subject.url}/status", timeout=5) as answer:
        return int(json.load(answer)["upstreams"]["slow"]["in_flight"])


def _table(alone: Load, rounds: list[_Round]) -> Table:
    rows = [("alone", _ms(alone.p50_ms), _ms(alone.p99_ms), _ms(alone.max_ms), f"{alone.rps:.0f}")]
    for at, one in enumerate(rounds, start=1):
        for name, load in (("come in", one.arriving), ("wait", one.meanwhile)):
            row = (_ms(load.p50_ms), _ms(load.p99_ms), _ms(load.max_ms), f"{load.rps:.0f}")
            rows.append((f"round {at}, while they {name}", *row))
    return Table("The other upstream", ("", "p50 ms", "p99 ms", "max ms", "req/s"), tuple(rows))


def _ms(value: float) -> str:
    return f"{value:.2f}"
