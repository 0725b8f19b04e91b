"""Add up the metrics files of all processes, living and dead, and write them as Prometheus text.

A directory holds ``<process>.json`` (the numbers), ``<process>.lock`` (held by the process while it lives),
``retired.json`` (the sum of the dead) and ``.lock`` (held while files are folded or added up). Files may be torn by a
loss of power, because nothing is synced: a damaged one is skipped and logged.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import add
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OVERFLOW = "(other)"

Value = float | list[float]
"""The number of a counter or gauge; or the sum and the counts of a histogram."""

log = logging.getLogger(__name__)

_RETIRED = "retired"
_MERGES: dict[str, Callable[[float, float], float]] = {"sum": add, "max": max, "min": min}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its values by label values. *kind* is counter, gauge or histogram."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    merge: str = "sum"
    limit: int = 2000
    values: dict[tuple[str, ...], Value] = field(default_factory=dict)

    def with_values(self, values: dict[tuple[str, ...], Value]) -> Family:
        """Return the family with other values."""
        return replace(self, values=values)

    def fits(self, other: Family) -> bool:
        """Tell whether the values of both may be added up."""
        return (self.kind, self.labels, self.bounds) == (other.kind, other.labels, other.bounds)

    def has_form(self, value: object) -> bool:
        """Tell whether *value* can be one of this family."""
        if self.kind == "histogram":
            return isinstance(value, list) and len(value) == len(self.bounds) + 2
        return isinstance(value, int | float)

    def take(self, other: Family) -> None:
        """Add the values of *other*; combinations of labels beyond the limit are added to ``(other)``."""
        for labels, value in other.values.items():
            known = labels in self.values or len(self.values) < self.limit
            key = labels if known else (OVERFLOW,) * len(labels)
            before = self.values.get(key)
            self.values[key] = value if before is None else self._merged(before, value)

    def _merged(self, one: Value, two: Value) -> Value:
        if isinstance(one, list) and isinstance(two, list):
            return list(map(add, one, two))
        if isinstance(one, list) or isinstance(two, list):
            raise TypeError(f"{self.name} is a histogram in one process alone")
        return _MERGES[self.merge](one, two)

    def as_json(self) -> dict[str, Any]:
        """Return the family for a metrics file."""
        return {
            "kind": self.kind,
            "name": self.name,
            "help": self.help,
            "labels": self.labels,
            "bounds": self.bounds,
            "merge": self.merge,
            "limit": self.limit,
            "values": list(self.values.items()),
        }

    def as_metric(self) -> Metric:
        """Return the family as Prometheus' library has it."""
        if self.kind == "histogram":
            return self._as_histogram()
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        metric = kind(self.name, self.help, labels=self.labels)
        for labels, value in sorted(self.values.items()):
            if not isinstance(value, list):
                metric.add_metric(labels, value)
        return metric

    def _as_histogram(self) -> Metric:
        metric = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        bounds = [*map(floatToGoString, self.bounds), "+Inf"]
        for labels, value in sorted(self.values.items()):
            if isinstance(value, list):
                total, *counts = value
                metric.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return metric


@dataclass(frozen=True, slots=True)
class _File:
    """What a metrics file says. *run* is unique to a life of a process; *folded* are runs that are in it already."""

    run: str
    families: list[Family]
    folded: Mapping[str, str] = field(default_factory=dict)


def exposition(directory: Path) -> bytes:
    """Return the Prometheus text (format 0.0.4) of all that the processes of *directory* count, or counted."""
    if not directory.is_dir():
        return b""
    with locked(directory, shared=True):
        families = _add_up(directory)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families.values()))
    return generate_latest(registry)


def living(directory: Path) -> list[str]:
    """Return the processes of *directory* that are alive."""
    if not directory.is_dir():
        return []
    return [process for process in _processes(directory) if _is_alive(directory, process)]


def retire(directory: Path, process: str) -> None:
    """Fold the counters and histograms of *process*, which has died, into those of the retired, and its gauges away.

    Does nothing for one that lives (a newer one may have its name) or is folded already. A disk that does not take it
    is logged: the file of the process stays, counts as before, and is folded at the next occasion.
    """
    with _tolerated(directory), locked(directory):
        if not _is_alive(directory, process):
            _fold(directory, [process])


def fold_dead(directory: Path) -> None:
    """Retire every dead process, as far as the disk takes it; the caller holds the lock of *directory*."""
    with _tolerated(directory):
        dead = [process for process in _processes(directory) if not _is_alive(directory, process)]
        if dead:
            _fold(directory, dead)


@contextmanager
def _tolerated(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        log.warning(
            "the counts of a dead process cannot be folded yet", extra={"directory": str(directory), "cause": str(exc)}
        )


@contextmanager
def locked(directory: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of *directory*; without it a number could be read from a file and again from ``retired.json``."""
    fd = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Write *content* so that readers see the old or the new file, whole. Not synced: these numbers may be lost."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return (family.as_metric() for family in self._families)


def _add_up(directory: Path) -> dict[str, Family]:
    retired = _read(directory, _RETIRED)
    found: dict[str, Family] = {}
    for process in _processes(directory):
        file = _read(directory, process)
        if file is not None and not (retired and retired.folded.get(process) == file.run):
            _take(found, file, gauges=_is_alive(directory, process))
    # The retired last: where an upgrade has changed a metric, the shape of the living holds.
    if retired is not None:
        _take(found, retired, gauges=False)
    return found


def _take(found: dict[str, Family], file: _File, *, gauges: bool) -> None:
    for family in file.families:
        if family.kind == "gauge" and not gauges:
            continue
        known = found.setdefault(family.name, family.with_values({}))
        if known.fits(family):
            known.take(family)
        else:
            log.warning("a metric changed its shape, the older counts are left out", extra={"metric": family.name})


def _fold(directory: Path, processes: list[str]) -> None:
    retired = _read(directory, _RETIRED)
    folded = dict(retired.folded) if retired else {}
    found: dict[str, Family] = {}
    for process in processes:
        file = _read(directory, process)
        if file is not None and folded.get(process) != file.run:
            _take(found, file, gauges=False)
            folded[process] = file.run
    if retired is not None:
        _take(found, retired, gauges=False)
    # A process killed between here and the unlinks leaves a file that is folded already; its run says so.
    folded = {process: run for process, run in folded.items() if _path(directory, process).exists()}
    families = [family.as_json() for family in found.values()]
    replace_file(_path(directory, _RETIRED), orjson.dumps({"run": "", "families": families, "folded": folded}))
    for process in processes:
        for suffix in (".json", ".new", ".lock"):
            _path(directory, process).with_suffix(suffix).unlink(missing_ok=True)


def _processes(directory: Path) -> list[str]:
    return sorted(
        {each.stem for each in directory.iterdir() if each.suffix in {".json", ".lock"}} - {_RETIRED, ".lock"}
    )


def _is_alive(directory: Path, process: str) -> bool:
    try:
        fd = os.open(_path(directory, process).with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def _path(directory: Path, process: str) -> Path:
    return directory / f"{process}.json"


def _read(directory: Path, process: str) -> _File | None:
    try:
        document = orjson.loads(_path(directory, process).read_bytes())
        families = [_family(each) for each in document["families"]]
        return _File(document["run"], families, document.get("folded", {}))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        log.warning("a metrics file is damaged and left out", extra={"owner": process, "cause": repr(exc)})
        return None


def _family(document: dict[str, Any]) -> Family:
    family = Family(
        kind=document["kind"],
        name=document["name"],
        help=document["help"],
        labels=tuple(document["labels"]),
        bounds=tuple(document["bounds"]),
        merge=document["merge"],
        limit=document["limit"],
        values={tuple(labels): value for labels, value in document["values"]},
    )
    for labels, value in family.values.items():
        if len(labels) != len(family.labels) or not family.has_form(value):
            raise ValueError(f"{family.name} has values that do not fit it")
    return family
