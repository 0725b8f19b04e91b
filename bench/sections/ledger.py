"""``ledger``: what it takes to accept a write for good, and to deliver it.

Gateway with two workers, load generator, upstream and courier share both processors. The store lies on the disk of
``TMPDIR``; what that disk can do is measured beside it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bench import Bench, Upstream, start_upstream
from children import cpu_s, family, free_port, wait_for_port
from entrepot.ledger.claim import ClaimRequest, claim
from entrepot.settings import load_settings
from entrepot.store.engine import open_database
from figures import BenchError, Figure, Goal, Result, Table, median
from load import Load, Target, drive, middle, ratio, refuse_bad, take_turns
from subject import ENTREPOT, SCOPE, Subject, environment, start_subject

BODY_BYTES = 600
DELIVERIES = 20_000
A_DAY = 400_000
PACE = 1000
CLAIMED = 50
LEASE_S = 30.0
_ONE_COMMIT = Path(__file__).parent.with_name("onecommit.py")
_PACED = Path(__file__).parent.with_name("paced.py")
_ACCEPTS = Goal(6_700, 13_300)
_P99 = Goal(25, 10, upward=False)
_DELIVERIES = Goal(1_500, 3_000)
_WHOLE = Goal(10, 4, upward=False)
_BACKLOG = Goal(0.80, 0.95)
_CLAIM = Goal(1.20, 1.05, upward=False)
_RETURN = Goal(5, 1, upward=False)
_IDLE = Goal(1, 0.1, upward=False)


def measure(bench: Bench, result: Result) -> None:
    """Add all figures of the ledger, one gateway after the other: each shall have the machine to itself."""
    body = bench.home / "body.json"
    body.write_bytes(_body())
    for part in (_accepts, _paced, _deliveries, _end_to_end, _backlog, _idle, _return):
        part(bench, result, body)


def _body() -> bytes:
    bare = {
        "reference": "WEB-1001",
        "lines": [{"product": f"P{at:05}", "quantity": at} for at in range(12)],
        "note": "",
    }
    bare["note"] = "x" * (BODY_BYTES - len(json.dumps(bare)))
    return json.dumps(bare).encode()


@dataclass(frozen=True, slots=True)
class _Ledger:
    """A gateway whose writes are queued for *url*, and what stands in its ledger."""

    subject: Subject
    body: Path

    @property
    def target(self) -> Target:
        """Load on both processors: accepts a second are told for the gateway and its callers together."""
        return replace(self.subject.target("v1/orders"), body=self.body, connections=64, cpus="0,1")

    @property
    def database(self) -> Path:
        """The file of its store."""
        return self.subject.home / "store" / "entrepot.db"

    def ask(self, statement: str, *values: object) -> list[tuple[float, ...]]:
        """Return what the database answers to *statement*."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(statement, values).fetchall()

    def number(self, statement: str) -> float:
        """Return the one number that the database answers to *statement*; 0 when that is nothing."""
        return self.ask(statement)[0][0] or 0

    def fill(self, count: int) -> None:
        """Put *count* writes in."""
        while (there := self.number("SELECT count(*) FROM transactions")) < count:
            drive(self.target, min(5, max(1, (count - there) / 10_000)))

    def courier(self, bench: Bench) -> subprocess.Popen[bytes]:
        """Start a courier."""
        settings = str(self.subject.home / "entrepot.ini")
        return bench.children.start(
            *ENTREPOT, "run", "courier", "--settings", settings, cpus="0,1", log=self.subject.home / "courier.log",
            env=environment(),
        )  # fmt: skip

    def wait_drained(self, limit_s: float) -> None:
        """Return when nothing waits. Raises BenchError."""
        end = time.monotonic() + limit_s
        while self.number("SELECT sum(unfinished) FROM queues"):
            if time.monotonic() > end:
                raise BenchError(f"the backlog is not zero after {limit_s:g} s: {self.ask('SELECT * FROM queues')}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the gateway."""
        self.subject.child.terminate()
        self.subject.child.wait(15)


def _start(bench: Bench, name: str, url: str, body: Path, *, workers: int = 2) -> _Ledger:
    catalog = f"""upstreams:
  up: {{kind: http, url: "{url}"}}
endpoints:
  orders:
    {{path: /v1/orders, upstream: up, relay: /v1/orders, methods: [POST], write: queue, order: none, scopes: [{SCOPE}]}}
"""
    partner = "name: Bench\n    max_queued: 100000000\n    max_queued_bytes: 64GiB"
    return _Ledger(start_subject(bench, name, catalog, workers=workers, cpus="0,1", partner=partner), body)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    child.wait(15)


# -- accepts


def _accepts(bench: Bench, result: Result, body: Path) -> None:
    ledger = _start(bench, "accepts", "http://127.0.0.1:9", body)
    plain, server = _one_commit(bench, body)
    names = ("entrepot, 2 workers", "one commit a request, 2 processes")
    found = take_turns(dict(zip(names, (ledger.target, plain), strict=True)), bench.rounds, bench.seconds)
    for name, loads in found.items():
        refuse_bad(name, loads)
    ours, theirs = found.values()
    rows = ledger.number("SELECT count(*) FROM transactions")
    syncs = median(_syncs_a_second(bench.home) for _ in range(3))
    rps = middle(ours, lambda load: load.rps)
    ledger.stop()
    _stop(server)
    if rows < sum(load.requests for load in ours):
        raise BenchError(
            f"{sum(load.requests for load in ours)} writes were answered with 202, {rows:.0f} rows are there"
        )
    value, said = ratio(ours, theirs)
    result.add(
        Figure("durable accepts a second, 2 workers, load on the same 2 processors", rps, "/s", _ACCEPTS),
        Figure("against one commit a request", value, "x", None, said),
        Figure("against the disk's fdatasync a second", rps / syncs, "x", None, f"{syncs:.0f}/s, one writer"),
        _accept_table(found),
    )


def _one_commit(bench: Bench, body: Path) -> tuple[Target, subprocess.Popen[bytes]]:
    port, home = free_port(), bench.home / "onecommit"
    home.mkdir()
    command = (sys.executable, str(_ONE_COMMIT), str(port), str(home / "plain.db"), "2")
    child = bench.children.start(*command, cpus="0,1", log=home / "log")
    wait_for_port(port, child, home / "log")
    target = Target(f"http://127.0.0.1:{port}/v1/orders", child.pid, body=body, connections=64, cpus="0,1")
    return target, child


def _syncs_a_second(home: Path) -> float:
    """Return how often a second the disk can be asked to keep 4 KiB."""
    count, page = 0, os.urandom(4096)
    with (home / "syncs").open("wb", buffering=0) as file:
        begun = time.perf_counter()
        while time.perf_counter() < begun + 1:
            file.write(page)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - begun)


def _accept_table(found: dict[str, list[Load]]) -> Table:
    rows = []
    for name, loads in found.items():
        rps, p50, p99, used = (
            middle(loads, what)
            for what in (
                lambda one: one.rps, lambda one: one.p50_ms, lambda one: one.p99_ms, lambda one: one.server_us,
            )
        )  # fmt: skip
        rows.append((name, f"{rps:.0f}", f"{used:.1f}", f"{p50:.2f}", f"{p99:.2f}"))
    return Table(
        "Durable accepts, 600 bytes, 64 connections", ("", "req/s", "cpu us/req", "p50 ms", "p99 ms"), tuple(rows)
    )


def _paced(bench: Bench, result: Result, body: Path) -> None:
    ledger = _start(bench, "paced", "http://127.0.0.1:9", body)
    arguments = (ledger.subject.port, "/v1/orders", ledger.subject.tokens, body, PACE, 3 * bench.seconds)
    rounds = [_paced_once(arguments) for _ in range(min(3, bench.rounds))]
    ledger.stop()
    if bad := sum(one["bad"] for one in rounds):
        raise BenchError(f"{bad:.0f} of the paced writes were not answered with 202")
    p50, p99, longest = (median(one[name] for one in rounds) for name in ("p50_ms", "p99_ms", "max_ms"))
    result.add(Figure(f"p99 of a 202 at {PACE}/s", p99, " ms", _P99, f"p50 {p50:.1f} ms, longest {longest:.1f} ms"))


def _paced_once(arguments: tuple[object, ...]) -> dict[str, float]:
    command = ["taskset", "-c", "0,1", sys.executable, str(_PACED), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise BenchError(f"paced.py: {done.stderr[-400:]}")
    return json.loads(done.stdout)


# -- deliveries


def _deliveries(bench: Bench, result: Result, body: Path) -> None:
    upstream = start_upstream(bench, cpus="0,1")
    ledger = _start(bench, "deliveries", upstream.url, body)
    ledger.fill(DELIVERIES)
    courier = ledger.courier(bench)
    ledger.wait_drained(120)
    rate, used = _delivered_a_second(ledger), cpu_s(family(courier.pid))
    count = ledger.number("SELECT count(*) FROM transactions WHERE state = 'delivered'")
    _stop(courier)
    ledger.stop()
    note = f"{used / count * 1e6:.0f} us of the courier's processor time each"
    result.add(Figure("deliveries a second, one courier, fast HTTP upstream", rate, "/s", _DELIVERIES, note))


def _delivered_a_second(ledger: _Ledger) -> float:
    """Return the rate between the first and the last tenth of what was delivered."""
    moments = [
        row[0] for row in ledger.ask("SELECT finished_at FROM transactions WHERE state = 'delivered' ORDER BY 1")
    ]
    first, last = len(moments) // 10, len(moments) * 9 // 10
    return (last - first) / (moments[last] - moments[first])


def _end_to_end(bench: Bench, result: Result, body: Path) -> None:
    upstream = start_upstream(bench, cpus="0,1")
    ledger = _start(bench, "whole", upstream.url, body)
    courier = ledger.courier(bench)
    ledger.fill(DELIVERIES)
    ledger.wait_drained(120)
    count, first, last = ledger.ask("SELECT count(*), min(accepted_at), max(finished_at) FROM transactions")[0]
    attempts = ledger.number("SELECT count(*) FROM attempts WHERE outcome != 'delivered'")
    _stop(courier)
    ledger.stop()
    minutes = (last - first) / count * A_DAY / 60
    note = f"scaled from {count:.0f} in {last - first:.1f} s; {attempts:.0f} attempts failed"
    result.add(Figure(f"{A_DAY} accepted and delivered, end to end", minutes, " min", _WHOLE, note))


# -- a backlog


def _backlog(bench: Bench, result: Result, body: Path) -> None:
    empty = _start(bench, "empty", "http://127.0.0.1:9", body)
    full = _start(bench, "full", "http://127.0.0.1:9", body)
    full.fill(bench.backlog)
    found = take_turns({"empty": empty.target, "full": full.target}, bench.rounds, bench.seconds)
    for name, loads in found.items():
        refuse_bad(name, loads)
    value, said = ratio(found["full"], found["empty"])
    there = full.number("SELECT count(*) FROM transactions")
    few = _start(bench, "few", "http://127.0.0.1:9", body)
    few.fill(3 * CLAIMED * 100)
    for ledger in (empty, full, few):
        ledger.stop()
    claims = {name: _claims(one) for name, one in (("few", few), ("full", full))}
    size = full.database.stat().st_size / 2**20
    result.add(
        Figure(f"accepts over a backlog of {bench.backlog}, against an empty ledger", value, "x", _BACKLOG, said),
        Figure(
            f"a claim of {CLAIMED} then, against a small ledger", median(claims["full"]) / median(claims["few"]), "x",
            _CLAIM, f"{median(claims['few']) * 1e3:.2f} and {median(claims['full']) * 1e3:.2f} ms",
        ),
        Figure("file of the ledger", size / there * 1024, " KiB a row", None, f"{size:.0f} MiB, {there:.0f} rows"),
    )  # fmt: skip


def _claims(ledger: _Ledger) -> list[float]:
    database = open_database(load_settings(ledger.subject.home / "entrepot.ini", environ={}).store.url)
    took = []
    try:
        for _ in range(100):
            begun = time.perf_counter()
            with database.writing() as connection:
                [leases] = claim(connection, [ClaimRequest("up", CLAIMED, "bench", LEASE_S)], time.time())
            took.append(time.perf_counter() - begun)
            if len(leases) != CLAIMED:
                raise BenchError(f"{len(leases)} of {CLAIMED} were claimed")
    finally:
        database.close()
    return took


# -- what a courier does when there is nothing to do, or nobody to deliver to


def _idle(bench: Bench, result: Result, body: Path) -> None:
    ledger = _start(bench, "idle", "http://127.0.0.1:9", body)
    courier = ledger.courier(bench)
    time.sleep(3)
    before, begun = cpu_s(family(courier.pid)), time.monotonic()
    time.sleep(10)
    share = (cpu_s(family(courier.pid)) - before) / (time.monotonic() - begun) * 100
    _stop(courier)
    ledger.stop()
    result.add(Figure("idle courier", share, " % of a core", _IDLE))


def _return(bench: Bench, result: Result, body: Path) -> None:
    waits = [_return_once(bench, body, at, away_s) for at, away_s in enumerate((3.0, 12.0, 20.0)[: bench.rounds])]
    said = ", ".join(f"{wait:.2f} s" for wait in waits)
    result.add(Figure("from an upstream's return to the first delivery", max(waits), " s", _RETURN, f"worst of {said}"))


def _return_once(bench: Bench, body: Path, number: int, away_s: float) -> float:
    """Return how long the first delivery took after an upstream came back that had been away for *away_s*."""
    upstream = start_upstream(bench, cpus="0,1")
    _stop(upstream.child)
    ledger = _start(bench, f"return-{number}", upstream.url, body, workers=1)
    courier = ledger.courier(bench)
    drive(replace(ledger.target, connections=4), 1)
    time.sleep(away_s)
    back_at = _again(bench, upstream)
    _eventually(lambda: ledger.number("SELECT count(*) FROM transactions WHERE finished_at IS NOT NULL") > 0)
    first = ledger.number("SELECT min(finished_at) FROM transactions WHERE state = 'delivered'")
    _stop(courier)
    ledger.stop()
    return max(0.0, first - back_at)


def _again(bench: Bench, upstream: Upstream) -> float:
    home = bench.home / f"upstream-{upstream.port}"
    child = bench.children.start("nginx", "-c", str(home / "nginx.conf"), cpus="0,1", log=home / "log")
    wait_for_port(upstream.port, child, home / "log")
    return time.time()


def _eventually(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not claim():
        if time.monotonic() > end:
            raise BenchError("nothing was delivered within a minute of the upstream's return")
        time.sleep(0.05)
