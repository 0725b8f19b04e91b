"""``relay``: a relayed GET with all stages on, against peers in the same run. One worker on processor 0, load on 1."""

from __future__ import annotations

from bench import Bench, start_upstream
from figures import Figure, Goal, Result, Table
from load import Load, Target, middle, ratio, refuse_bad, take_turns
from peers import start_peers
from subject import relays, start_subject

_GOALS = {"nginx-lua": Goal(1.0, 1.25), "flask-requests": Goal(30, 42), "bare": Goal(0.75, 0.9)}


def measure(bench: Bench, result: Result) -> None:
    """Add the ratios of requests a second, ours to each peer's, and the table of all."""
    upstream = start_upstream(bench)
    subject = start_subject(bench, "gateway", relays(upstream.url))
    targets = {
        "entrepot": subject.target(),
        "direct": Target(f"{upstream.url}/v1/items/1", upstream.child.pid, subject.tokens),
        **start_peers(bench, upstream.port),
    }
    found = take_turns(targets, bench.rounds, bench.seconds)
    for name, loads in found.items():
        refuse_bad(name, loads)
    ours = found["entrepot"]
    for name, goal in _GOALS.items():
        value, rounds = ratio(ours, found[name])
        result.add(Figure(f"relay GET against {name}", value, "x", goal, rounds))
    result.add(_table(found, ours))


def _table(found: dict[str, list[Load]], ours: list[Load]) -> Table:
    rows = []
    for name, loads in found.items():
        against = "" if loads is ours else f"{ratio(ours, loads)[0]:.2f}"
        rps, p50, p99 = (middle(loads, what) for what in (_rps, lambda one: one.p50_ms, lambda one: one.p99_ms))
        server_us = middle(loads, lambda one: one.server_us)
        rows.append((name, f"{rps:.0f}", f"{server_us:.1f}", f"{p50:.2f}", f"{p99:.2f}", against))
    title = f"Relayed GET, {len(ours)} rounds of {ours[0].seconds:.0f} s in turn, medians"
    return Table(title, ("", "req/s", "cpu us/req", "p50 ms", "p99 ms", "ours/this"), tuple(rows))


def _rps(load: Load) -> float:
    return load.rps
