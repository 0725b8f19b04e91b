"""``endpoints``: 10, 1 000 and 10 000 endpoints, one gateway each on processor 0, in turn; then a change of each.

Requests go to 20 000 different paths, spread over all endpoints: every one differs from the thousands before it. The
paths of all catalogs are of one length.
"""

from __future__ import annotations

from dataclasses import replace

from bench import Bench, start_upstream
from children import memory_mib
from figures import Figure, Goal, Result, Table
from load import Load, middle, ratio, refuse_bad, take_turns
from probe import Change, change
from subject import CLIENTS, SCOPE, Subject, partners, start_subject

COUNTS = (10, 1000, 10_000)
PATHS = 20_000
_STRIDE = 7919
_GOAL = Goal(0.9, 0.97)


def measure(bench: Bench, result: Result) -> None:
    """Add requests a second with many endpoints against few, and what a change of a large catalog costs."""
    upstream = start_upstream(bench)
    subjects, targets = {}, {}
    for count in COUNTS:
        subjects[count] = start_subject(bench, f"gateway-{count}", _catalog(upstream.url, count))
        paths = bench.home / f"paths-{count}"
        paths.write_text("".join(f"/v1/e{at * _STRIDE % count:05}/items/{at:05}\n" for at in range(PATHS)))
        targets[str(count)] = replace(subjects[count].target(""), paths=paths)
    found = take_turns(targets, bench.rounds, bench.seconds)
    for name, loads in found.items():
        refuse_bad(f"{name} endpoints", loads)
    few, some, many = (found[str(count)] for count in COUNTS)
    value, note = ratio(many, few)
    result.add(Figure("10 000 endpoints against 10", value, "x", _GOAL, note))
    value, note = ratio(some, few)
    result.add(Figure("1 000 endpoints against 10", value, "x", None, note))
    memory = {count: memory_mib(subject.worker)[0] for count, subject in subjects.items()}
    changes = {count: _changed(subject, upstream.url, count) for count, subject in subjects.items()}
    _add_change(result, changes[COUNTS[-1]])
    result.add(_table(found, memory, changes))


def _catalog(upstream_url: str, count: int, more: str = "") -> str:
    head = f'upstreams:\n  up: {{kind: http, url: "{upstream_url}", concurrency: 1024}}\nendpoints:\n'
    return head + "".join(_endpoint(f"e{at:05}") for at in range(count)) + (_endpoint(more) if more else "")


def _endpoint(name: str) -> str:
    return f"""  {name}:
    path: /v1/{name}/items/{{id}}
    upstream: up
    relay: /v1/items/{{id}}
    methods: [GET]
    scopes: [{SCOPE}]
"""


def _changed(subject: Subject, upstream_url: str, count: int) -> Change:
    (subject.home / "catalog.yaml").write_text(_catalog(upstream_url, count, "fresh") + partners(CLIENTS))
    return change(subject, old=f"/v1/e{0:05}/items/1", new="/v1/fresh/items/1")


def _add_change(result: Result, change: Change) -> None:
    result.add(
        Figure(
            "apply of one endpoint more to 10 000", change.apply_s, " s", note="`entrepot apply`, from start to end"
        ),
        Figure("its coming into force after that was written", change.in_force_s * 1000, " ms"),
        Figure("longest pause of requests meanwhile", change.pause_ms, " ms", note=f"{change.failed} failed"),
    )


def _table(found: dict[str, list[Load]], memory: dict[int, float], changes: dict[int, Change]) -> Table:
    rows = []
    for count in COUNTS:
        loads, change = found[str(count)], changes[count]
        rps, p99 = middle(loads, lambda one: one.rps), middle(loads, lambda one: one.p99_ms)
        times = (f"{change.apply_s:.1f}", f"{change.in_force_s * 1000:.0f}", f"{change.pause_ms:.0f}")
        rows.append((str(count), f"{rps:.0f}", f"{p99:.2f}", f"{memory[count]:.0f}", *times))
    header = ("endpoints", "req/s", "p99 ms", "worker RSS MiB", "apply s", "in force ms", "pause ms")
    return Table("Growth with endpoints", header, tuple(rows))
