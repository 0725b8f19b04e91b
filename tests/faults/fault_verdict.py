"""What must be true at the end, whatever has been killed: counted in the witness's log against what was sent."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from fault_senders import Write

ORDERED = ("/lanes/", "/ready/")
"""What the paths begin with whose lanes keep their order."""
REPORT: list[str] = []
"""A line for each count, for the end of the run."""


@dataclass(frozen=True)
class Applied:
    """One request as the witness wrote it down. *id* is its Idempotency-Key, which names the transaction."""

    id: str | None
    key: str
    lane: str
    number: int
    at: float
    path: str


def applied(log: Path, keys: set[str]) -> list[Applied]:
    """Return what the witness applied of the writes *keys*, in order."""
    names = ("id", "key", "lane", "number", "at", "path")
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    rows = [Applied(**{name: seen[name] for name in names}) for seen in map(json.loads, lines)]
    return [row for row in rows if row.key in keys]


@dataclass(frozen=True)
class Verdict:
    """What came of the *sent* writes with a key: ``str`` is the line for the report."""

    sent: int
    tries: int
    requests: int
    lost: set[str]
    doubled: dict[str, set[str | None]]
    overtaken: list[tuple[str, int, int]]

    def __str__(self):
        repeats = self.requests - self.sent + len(self.lost)
        return (
            f"{self.sent} sent in {self.tries} tries, {self.sent - len(self.lost)} applied by {self.requests} requests "
            f"({repeats} repeats with the same key), {len(self.doubled)} doubled, {len(self.overtaken)} out of order"
        )


def judge(writes: list[Write], log: Path) -> Verdict:
    """Compare *writes*, all of which had a key and were answered, with the witness's *log*.

    An upstream that honours Idempotency-Key applies a write once when all its requests bear the same one.
    """
    seen = applied(log, {write.key for write in writes})
    ids: dict[str, set[str | None]] = defaultdict(set)
    for row in seen:
        ids[row.key].add(row.id)
    return Verdict(
        sent=len(writes),
        tries=sum(len(write.statuses) for write in writes),
        requests=len(seen),
        lost={write.key for write in writes} - set(ids),
        doubled={key: found for key, found in ids.items() if len(found) != 1 or None in found},
        overtaken=overtaken(seen),
    )


def overtaken(seen: list[Applied]) -> list[tuple[str, int, int]]:
    """Return lane, number and the higher number before it, for each request of an ordered lane that came too late."""
    last: dict[str, int] = {}
    found = []
    for row in seen:
        if not row.path.startswith(ORDERED):
            continue
        if row.number < last.get(row.lane, -1):
            found.append((row.lane, row.number, last[row.lane]))
        last[row.lane] = max(row.number, last.get(row.lane, -1))
    return found


def assert_applied_once(writes: list[Write], log: Path) -> Verdict:
    """Assert that keys sent = keys applied, each by one transaction, in order; report and return the verdict."""
    verdict = judge(writes, log)
    REPORT.append(str(verdict))
    assert verdict.lost == set(), f"{len(verdict.lost)} lost: {sorted(verdict.lost)[:5]}"
    assert verdict.doubled == {}, f"{len(verdict.doubled)} doubled: {list(verdict.doubled.items())[:5]}"
    assert verdict.overtaken == [], f"{len(verdict.overtaken)} out of order: {verdict.overtaken[:5]}"
    return verdict


def assert_applied_at_least_once(writes: list[Write], log: Path, *, repeats: int) -> None:
    """Assert what holds for an upstream that heeds no key and counts every request: all of *writes* came.

    They came again *repeats* times at most, and each lane ends with what was written to it last.
    """
    seen = applied(log, {write.key for write in writes})
    came = Counter(row.key for row in seen)
    again = came.total() - len(came)
    counts = f"{len(came)} applied by {came.total()} requests, {again} of at most {repeats} again"
    REPORT.append(f"{len(writes)} sent, {counts}")
    assert {write.key for write in writes} - set(came) == set()
    assert again <= repeats, came.most_common(5)
    lanes = {row.key: row.lane for row in seen if row.path.startswith(ORDERED)}
    last_written = {lanes[write.key]: write.key for write in writes if write.key in lanes}
    assert {row.lane: row.key for row in seen if row.key in lanes} == last_written
    assert overtaken(seen) == []


def assert_surplus_is_unanswered(writes: list[Write], log: Path) -> None:
    """Assert of *writes* without keys: what was accepted was applied, and beyond that only what got no answer."""
    seen = applied(log, {write.key for write in writes})
    ids: dict[str, set[str | None]] = defaultdict(set)
    for row in seen:
        ids[row.key].add(row.id)
    accepted = {write.key for write in writes if write.is_answered}
    unanswered = {write.key for write in writes if write.was_lost}
    counts = f"{len(accepted)} accepted, {len(unanswered)} not answered, {len(ids)} applied"
    REPORT.append(f"{len(writes)} sent once, {counts}")
    assert accepted - set(ids) == set()
    assert set(ids) - accepted - unanswered == set()
    assert {key: found for key, found in ids.items() if len(found) != 1} == {}
