"""What a command says: results to standard output, problems to standard error, one a line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from entrepot.chassis.errors import Error


def say(text: str = "") -> None:
    """Write *text* and a line end to standard output."""
    sys.stdout.write(f"{text}\n")


def say_json(value: Any) -> None:
    """Write *value* to standard output as JSON, for machines."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def say_table(rows: Sequence[Sequence[object]]) -> None:
    """Write *rows* in columns that stand below each other; a cell that is None is empty."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def complain(text: str) -> None:
    """Write *text* to standard error as one line, whatever it holds; the journal takes it for an error or a warning."""
    sys.stderr.write(f"{_level(text)}{' '.join(text.splitlines())}\n")


def _level(text: str) -> str:
    """Return what systemd reads the priority of a line from (sd-daemon(3)), nothing without it."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return ""
    if os.environ.get("JOURNAL_STREAM") != f"{status.st_dev}:{status.st_ino}":
        return ""
    return "<4>" if text.startswith("warning: ") else "<3>"


def report(error: Error) -> None:
    """Complain of *error*: one line for each of its mistakes, or one for itself."""
    for mistake in error.errors:
        complain(f"{mistake.path}: {mistake.message}" if mistake.path else mistake.message)
    if not error.errors:
        complain(f"entrepot: {error}")
