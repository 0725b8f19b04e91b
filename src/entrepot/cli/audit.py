"""``entrepot audit``: who changed what."""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from typing import Any

from entrepot.cli.output import complain, say_json, say_table
from entrepot.cli.startup import start
from entrepot.cli.times import moment_ago
from entrepot.services import Services
from entrepot.store.audit import Wanted, entries


def show(arguments: argparse.Namespace) -> int:
    """Show the entries of the audit log that the filters let through, the latest first."""
    wanted, limit = _wanted(arguments), arguments.limit
    with Services.from_settings(start(arguments).settings) as services, services.database.reading() as session:
        found = entries(session, wanted, limit + 1)
    rows = [entry.as_json() for entry in found[:limit]]
    if arguments.json:
        say_json(rows)
    elif rows:
        lines = [_cells(row) for row in rows]
        say_table([list(lines[0]), *(list(line.values()) for line in lines)])
    if len(found) > limit:
        complain(f"there are more than {limit}: see --limit")
    return 0


def _wanted(arguments: argparse.Namespace) -> Wanted:
    if arguments.limit < 1:
        arguments.parser.error("argument --limit: must be at least 1")
    named = {name: getattr(arguments, name) for name in ("actor", "kind", "name", "action")}
    return Wanted(**named, since=_moment(arguments, "since"), until=_moment(arguments, "until"))


def _moment(arguments: argparse.Namespace, name: str) -> datetime | None:
    text = getattr(arguments, name)
    if text is None:
        return None
    moment = None
    try:
        moment = datetime.fromtimestamp(moment_ago(text, time.time()), UTC)
    except (ValueError, OverflowError) as exc:
        arguments.parser.error(f"argument --{name}: {exc}")
    return moment


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return *row* as people read it: what changed alone, on one line."""
    before, after = row.pop("before") or {}, row.pop("after") or {}
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    row["change"] = "  ".join(f"{name}: {_text(before.get(name))} → {_text(after.get(name))}" for name in changed)
    return row


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
