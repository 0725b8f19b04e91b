"""``cached``: a kept list of the gateway against the same ``search_read`` asked of Odoo itself, over HTTP.

One worker on processor 0, the load on 1; Odoo runs where its own service put it.
"""

from __future__ import annotations

import json
import urllib.request

from bench import Bench
from figures import BenchError, Figure, Goal, Result, Table
from load import Load, Target, middle, ratio, refuse_bad, take_turns
from odoo import PAGE, catalog, find_odoo
from subject import Subject, start_subject

_GOAL = Goal(50, 100)
_CONNECTIONS = 4
"""More at once make a threaded Odoo slower, not faster."""


def measure(bench: Bench, result: Result) -> None:
    """Add how many times more kept lists than direct ones are answered in a second."""
    odoo = find_odoo()
    subject = start_subject(bench, "gateway", catalog(bench, odoo))
    body = bench.home / "search_read.json"
    body.write_bytes(odoo.body([], limit=PAGE, order="id"))
    records = len(odoo.records([], limit=PAGE, order="id"))
    if _listed(subject) != records:
        raise BenchError(f"the gateway lists {_listed(subject)} records, Odoo {records}")
    targets = {
        "gateway, kept": subject.target("v1/cached"),
        "Odoo, search_read": Target(f"{odoo.url}/jsonrpc", body=body, connections=_CONNECTIONS),
    }
    found = take_turns(targets, min(5, bench.rounds), bench.seconds)
    kept, direct = found.values()
    refuse_bad("the kept list", kept)
    value, note = ratio(kept, direct)
    result.add(
        Figure("kept Odoo list against a direct search_read", value, "x", _GOAL, f"{note}; {records} records"),
        _table(found),
    )


def _listed(subject: Subject) -> int:
    token = subject.tokens.read_text().split()[0]
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{subject.url}/v1/cached?limit={PAGE}", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return len(json.load(answer)["data"])


def _table(found: dict[str, list[Load]]) -> Table:
    rows = []
    for name, loads in found.items():
        cells = (middle(loads, lambda one: one.rps), middle(loads, lambda one: one.p50_ms))
        rows.append((name, *(f"{cell:.2f}" for cell in cells), f"{middle(loads, lambda one: one.p99_ms):.2f}"))
    return Table("A list of contacts", ("", "req/s", "p50 ms", "p99 ms"), tuple(rows))
