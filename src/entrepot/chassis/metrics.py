"""Metrics of one process as plain numbers, kept in a file that ``exposition`` adds up over all processes.

A ``Meter`` belongs to one process and is made after the fork. It writes its numbers once a second (``flush``), so a
killed process loses at most the last second. Who counts keeps the child that ``labels`` returns: ``inc`` and
``observe`` then cost a fraction of a microsecond. They are safe between the threads of a process with a GIL.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import orjson

from entrepot.chassis.exposition import (
    CONTENT_TYPE,
    OVERFLOW,
    Family,
    Value,
    exposition,
    fold_dead,
    locked,
    replace_file,
    retire,
)

__all__ = [
    "CONTENT_TYPE", "DEFAULT_BOUNDS_S", "NO_HANDLER", "Counter", "Gauge", "Histogram", "Meter", "MeterFamily",
    "exposition", "http_durations", "retire",
]  # fmt: skip

DEFAULT_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
NO_HANDLER = "/404"
"""The label ``handler`` of requests that no endpoint matches."""

log = logging.getLogger(__name__)

_PROCESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, amount: float = 1) -> None:
        """Add *amount*, which is not negative."""
        self.value += amount

    def read(self) -> Value:
        """Return the number."""
        return self.value


class Gauge:
    """A number that is set; that of a dead process is gone."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def set(self, value: float) -> None:
        """Make it *value*, a finite number."""
        self.value = value

    def inc(self, amount: float = 1) -> None:
        """Add *amount*."""
        self.value += amount

    def read(self) -> Value:
        """Return the number."""
        return self.value


class Histogram:
    """How many observations fell under each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self.counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value*; a bound includes itself."""
        # Found before the update, so that no other thread can run between its read and its write.
        index = bisect_left(self._bounds, value)
        self.counts[index] += 1
        self.sum += value

    def read(self) -> Value:
        """Return the sum and then the counts, not yet cumulated."""
        return [self.sum, *self.counts]


class _Child(Protocol):
    def read(self) -> Value: ...


_AnyChild = TypeVar("_AnyChild", bound=_Child)


class MeterFamily(Generic[_AnyChild]):
    """One metric: a child for each combination of label values, at most *limit* of them.

    Further combinations share one child whose labels are all ``(other)``, so that no caller can fill the memory.
    """

    def __init__(self, shape: Family, make: type[_AnyChild]) -> None:
        self.shape = shape
        self._make = make
        self._children: dict[tuple[str, ...], _AnyChild] = {}

    def labels(self, *values: str) -> _AnyChild:
        """Return the child of *values*, in the order of the label names. Raises ValueError for a wrong number."""
        child = self._children.get(values)
        return child if child is not None else self._add(values)

    def snapshot(self) -> Family:
        """Return the family with the present numbers."""
        # A copy first: another thread may add a child meanwhile.
        values = {labels: child.read() for labels, child in list(self._children.items())}
        return self.shape.with_values(values)

    def _add(self, values: tuple[str, ...]) -> _AnyChild:
        if len(values) != len(self.shape.labels):
            raise ValueError(f"{self.shape.name} has the labels {self.shape.labels}, got {values}")
        if len(self._children) >= self.shape.limit:
            values = (OVERFLOW,) * len(values)
        # An unpaired surrogate cannot be written as UTF-8.
        values = tuple(value.encode(errors="backslashreplace").decode() for value in values)
        return self._children.setdefault(values, self._new())

    def _new(self) -> _AnyChild:
        return self._make(self.shape.bounds) if self.shape.kind == "histogram" else self._make()  # type: ignore[call-arg]  # by its kind


class Meter:
    """The metrics of this process, kept in ``<directory>/<process>.json``.

    *process* is unique among the living, for example ``gateway-4711``. What a dead process of the same or another name
    has left behind is folded into ``retired.json`` first. Raises ValueError for a name that cannot be one, and
    RuntimeError if a living process has it. A disk that takes nothing is no error: counting goes on in memory.
    """

    def __init__(self, directory: Path, process: str) -> None:
        if _PROCESS.fullmatch(process) is None or process == "retired":
            raise ValueError(f"not the name of a process: {process!r}")
        self._directory = directory
        self._process = process
        self._run = secrets.token_hex(8)
        self._families: dict[str, MeterFamily[Counter] | MeterFamily[Gauge] | MeterFamily[Histogram]] = {}
        self._failing = False
        self._alive_fd: int | None = None
        with self._tolerated():
            self._begin()

    def counter(self, name: str, help_: str, labels: Sequence[str] = (), *, limit: int = 2000) -> MeterFamily[Counter]:
        """Return a new family of counters; *name* ends with ``_total``."""
        if not name.endswith("_total"):
            raise ValueError(f"the name of a counter ends with _total, got {name}")
        return self._add(MeterFamily(Family("counter", name, help_, tuple(labels), limit=limit), Counter))

    def gauge(
        self,
        name: str,
        help_: str,
        labels: Sequence[str] = (),
        *,
        merge: Literal["sum", "max", "min"] = "sum",
        limit: int = 2000,
    ) -> MeterFamily[Gauge]:
        """Return a new family of gauges; *merge* makes one number of those of the living processes."""
        return self._add(MeterFamily(Family("gauge", name, help_, tuple(labels), merge=merge, limit=limit), Gauge))

    def histogram(
        self,
        name: str,
        help_: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float] = DEFAULT_BOUNDS_S,
        limit: int = 2000,
    ) -> MeterFamily[Histogram]:
        """Return a new family of histograms; *bounds* ascend, and infinity is added."""
        shape = Family("histogram", name, help_, tuple(labels), bounds=tuple(bounds), limit=limit)
        return self._add(MeterFamily(shape, Histogram))

    def flush(self) -> None:
        """Write all numbers; a disk that does not take them is logged once, and tried again at the next call."""
        families = [family.snapshot().as_json() for family in self._families.values()]
        document = orjson.dumps({"run": self._run, "families": families})
        with self._tolerated():
            # Without the lock the file would be taken for that of a dead process, and counted twice.
            if self._alive_fd is None:
                self._begin()
            replace_file(self._directory / f"{self._process}.json", document)
            self._failing = False

    def close(self) -> None:
        """Write all numbers a last time, and fold them into those of the retired processes."""
        self.flush()
        if self._alive_fd is not None:
            os.close(self._alive_fd)
            self._alive_fd = None
        retire(self._directory, self._process)

    @contextmanager
    def _tolerated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if not self._failing:
                log.warning("metrics cannot be written", extra={"directory": str(self._directory), "cause": str(exc)})
            self._failing = True

    def _begin(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        with locked(self._directory):
            fold_dead(self._directory)
            self._alive_fd = self._hold_lock()

    def _add(self, family: _AnyFamily) -> _AnyFamily:
        if self._families.setdefault(family.shape.name, family) is not family:
            raise ValueError(f"{family.shape.name} is there already")
        return family

    def _hold_lock(self) -> int:
        # The kernel lets go of the lock however the process ends, which tells the living from the dead for sure; a pid
        # does not, because it comes again.
        fd = os.open(self._directory / f"{self._process}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            raise RuntimeError(f"a living process is called {self._process}") from exc
        except OSError:
            os.close(fd)
            raise
        return fd


_AnyFamily = TypeVar("_AnyFamily", MeterFamily[Counter], MeterFamily[Gauge], MeterFamily[Histogram])


def http_durations(meter: Meter, *, limit: int = 2000) -> MeterFamily[Histogram]:
    """Return ``http_request_duration_seconds{method,handler,status}``; the handler is a route, never a path."""
    return meter.histogram(
        "http_request_duration_seconds", "Time from request to answer.", ("method", "handler", "status"), limit=limit
    )
