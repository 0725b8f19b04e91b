"""What a run has found out: figures with what is to be reached, tables beside them, and the files that keep both."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


class BenchError(Exception):
    """A section could not measure what it says."""


class Skipped(BenchError):
    """What a section measures is not there, and nothing is wrong with that."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must reach (*bound*) and should reach (*aim*); *upward* when more is better."""

    bound: float
    aim: float
    upward: bool = True

    def verdict(self, value: float) -> str:
        """Return ``ok, aim``, ``ok`` or ``missed``."""
        if self._meets(value, self.aim):
            return "ok, aim"
        return "ok" if self._meets(value, self.bound) else "missed"

    def _meets(self, value: float, wanted: float) -> bool:
        return value >= wanted if self.upward else value <= wanted

    def shown(self, value: float, unit: str) -> str:
        """Return *value*, which is the bound or the aim, with its direction."""
        return f"{'>=' if self.upward else '<='} {number(value)}{unit}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. *goal* is None for what is only told."""

    what: str
    value: float
    unit: str = ""
    goal: Goal | None = None
    note: str = ""

    def row(self) -> list[str]:
        """Return the cells of the figure's line in the table."""
        value = f"{number(self.value)}{self.unit}"
        if self.goal is None:
            return [self.what, value, "", "", "", self.note]
        bound, aim = (self.goal.shown(wanted, self.unit) for wanted in (self.goal.bound, self.goal.aim))
        return [self.what, value, bound, aim, self.goal.verdict(self.value), self.note]


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers beside a figure: peers, or a curve of growth."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class Result:
    """What one section has found; *failure* says why it found nothing, or not all."""

    section: str
    taken: str
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    failure: str = ""
    was_skipped: bool = False

    def add(self, *found: Figure | Table) -> None:
        """Keep what was found."""
        for one in found:
            if isinstance(one, Table):
                self.tables.append(one)
            else:
                self.figures.append(one)

    @property
    def is_good(self) -> bool:
        """Whether the section ended well and reached what it must."""
        missed = any(one.goal is not None and one.goal.verdict(one.value) == "missed" for one in self.figures)
        return self.was_skipped or not (self.failure or missed)


def number(value: float) -> str:
    """Return *value* with about three digits that count."""
    if value != value or abs(value) >= 100:  # noqa: PLR0124 - not a number
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def median(values: Iterable[float]) -> float:
    """Return the median; of an even count the lower of the two in the middle, which was really measured."""
    return statistics.median_low(list(values))


def text(results: Sequence[Result], machine: dict[str, str]) -> str:
    """Return everything as plain text."""
    lines = [f"{name}: {value}" for name, value in machine.items()]
    header = ["what", "figure", "at least", "aim", "", ""]
    rows = [row for result in results for row in _rows(result)]
    lines += ["", *aligned([header, *rows])]
    for result in results:
        for table in result.tables:
            lines += ["", table.title, "", *aligned([list(table.header), *map(list, table.rows)])]
    return "\n".join(lines) + "\n"


def _rows(result: Result) -> list[list[str]]:
    rows = [[f"[{result.section}, {result.taken}]"], *(figure.row() for figure in result.figures)]
    if result.failure:
        rows.append([("skipped: " if result.was_skipped else "failed: ") + result.failure])
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return *rows* as lines of columns: the first to the left, the others to the right, the last free.

    A row of one cell runs over all columns.
    """
    columns = max(map(len, rows))
    widths = [max((len(row[at]) for row in rows if len(row) > max(at, 1)), default=0) for at in range(columns)]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    if len(row) == 1:
        return row[0]
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "  ".join(cells).rstrip()


def write(directory: Path, results: Sequence[Result], machine: dict[str, str]) -> str:
    """Write ``figures.json`` and ``figures.txt``; sections not in *results* keep what they had. Return the text."""
    path = directory / "figures.json"
    kept = [read(one) for one in json.loads(path.read_text())["sections"]] if path.exists() else []
    fresh = {result.section: result for result in results}
    merged = [fresh.pop(result.section, result) for result in kept] + list(fresh.values())
    document = {"machine": machine, "sections": [asdict(result) for result in merged]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    whole = text(merged, machine)
    (directory / "figures.txt").write_text(whole, encoding="utf-8")
    return whole


def read(section: dict) -> Result:
    """Return the result that ``figures.json`` keeps as *section*."""
    figures = [Figure(**{**one, "goal": one["goal"] and Goal(**one["goal"])}) for one in section["figures"]]
    tables = [Table(one["title"], tuple(one["header"]), tuple(map(tuple, one["rows"]))) for one in section["tables"]]
    return Result(**{**section, "figures": figures, "tables": tables})
