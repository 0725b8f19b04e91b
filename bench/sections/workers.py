"""``workers``: one, two and four workers. The load generator and the upstream live on the same processors.

Both processors are full as soon as two workers run, so the plain ratio (``same two processors``) says as much of the
load generator as of the gateway. ``a processor each`` gives one worker and its load one processor, and two workers and
theirs, twice as much, two: what a second processor brings. The table says who took how much processor time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench import Bench, Upstream, start_upstream
from children import cpu_s, family
from figures import Figure, Goal, Result, Table, median
from load import Load, Target, drive, refuse_bad
from subject import Subject, relays, start_subject

_GOAL = Goal(1.6, 1.8)


@dataclass(frozen=True, slots=True)
class _Setting:
    """Who runs where in a round."""

    name: str
    workers: int
    cpus: str
    threads: int
    connections: int


@dataclass(frozen=True, slots=True)
class _Round:
    load: Load
    upstream_s: float


_TOGETHER = tuple(_Setting(f"{count}, same two processors", count, "0,1", 1, 64) for count in (1, 2, 4))
_EACH = (_Setting("1, on one processor", 1, "0", 1, 32), _Setting("2, on two processors", 2, "0,1", 2, 64))


def measure(bench: Bench, result: Result) -> None:
    """Add how much more two workers carry than one, and the table of who took what."""
    settings = (*_TOGETHER, *_EACH)
    running = {setting: _start(bench, setting) for setting in settings}
    rounds: dict[_Setting, list[_Round]] = {setting: [] for setting in settings}
    for setting, (subject, _) in running.items():
        drive(_target(setting, subject), 1)
    for _ in range(bench.rounds):
        for setting, (subject, upstream) in running.items():
            rounds[setting].append(_round(setting, subject, upstream, bench.seconds))
    for setting, found in rounds.items():
        refuse_bad(setting.name, [one.load for one in found])
    rps = {setting: median(one.load.rps for one in found) for setting, found in rounds.items()}
    one, two, four = _TOGETHER
    note = f"gateway got {_share(rounds[two]):.0%} of both processors, with 1 worker {_share(rounds[one]):.0%}"
    result.add(
        Figure("2 workers against 1, same two processors", rps[two] / rps[one], "x", _GOAL, note),
        Figure("2 workers against 1, a processor each", rps[_EACH[1]] / rps[_EACH[0]], "x", _GOAL),
        Figure("4 workers against 1, same two processors", rps[four] / rps[one], "x"),
        _table(rounds),
    )


def _start(bench: Bench, setting: _Setting) -> tuple[Subject, Upstream]:
    upstream = start_upstream(bench, cpus=setting.cpus, workers=setting.threads)
    name = setting.name.replace(", ", "-").replace(" ", "-")
    subject = start_subject(bench, name, relays(upstream.url), workers=setting.workers, cpus=setting.cpus)
    return subject, upstream


def _target(setting: _Setting, subject: Subject) -> Target:
    return replace(subject.target(), connections=setting.connections, threads=setting.threads, cpus=setting.cpus)


def _round(setting: _Setting, subject: Subject, upstream: Upstream, seconds: float) -> _Round:
    upstream_s = cpu_s(family(upstream.child.pid))
    load = drive(_target(setting, subject), seconds)
    return _Round(load, cpu_s(family(upstream.child.pid)) - upstream_s)


def _share(rounds: Sequence[_Round]) -> float:
    return median(one.load.server_s / one.load.seconds / 2 for one in rounds)


def _table(rounds: dict[_Setting, list[_Round]]) -> Table:
    rows = []
    for setting, found in rounds.items():
        rps = median(one.load.rps for one in found)
        p99_ms = median(one.load.p99_ms for one in found)
        gateway, upstream, wrk = (
            median(took(one) / one.load.seconds for one in found)
            for took in (_gateway_s, lambda one: one.upstream_s, lambda one: one.load.cpu_s)
        )
        each_us = median(one.load.server_us for one in found)
        cells = (f"{gateway:.2f}", f"{upstream:.2f}", f"{wrk:.2f}", f"{each_us:.1f}")
        rows.append((setting.name, f"{rps:.0f}", f"{p99_ms:.2f}", *cells))
    header = ("workers", "req/s", "p99 ms", "gateway", "upstream", "wrk", "gateway us/req")
    return Table("Workers; who took how many processor seconds a second", header, tuple(rows))


def _gateway_s(one: _Round) -> float:
    return one.load.server_s
