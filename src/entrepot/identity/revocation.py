"""What is refused although its signature is good, in a file that works without a database.

A line of JSON for each revocation, appended and synced before it counts. Every worker has all of it in memory and
reads the tail when the file has grown. A line that was cut off (kill -9, disk full) never counted: it is ignored, and
cut away by the next append. Times are seconds since 1970.

A client or partner is revoked up to a second, the *cutoff*: tokens whose ``iat`` lies in that second or before are
refused, for ``iat`` is a whole second and does not say what came first within it. Whoever issues waits for the next
second (``entrepot.identity.desk``), so that a token made after a revocation works.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import orjson

from entrepot.errors import BadRequest, StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.durable import sync_directory, write_all, write_private

log = logging.getLogger(__name__)

Kind = Literal["jti", "client", "partner"]
KINDS = get_args(Kind)
MAX_VALUE_CHARS = 255
# How long an entry stays after its tokens have expired, for the sake of clocks.
KEPT_S = 86_400.0


class Counter(Protocol):
    """A number that all processes of the host see, and that only grows."""

    def read(self) -> int:
        """Return the present value."""

    def bump(self) -> object:
        """Add one."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A token (by its jti), or the tokens of a client or partner up to *cutoff*, that are refused.

    *expires_at*: by then all of these tokens have expired. *by* says who did it.
    """

    kind: Kind
    value: str
    revoked_at: float
    expires_at: float
    cutoff: int | None = None
    by: str = ""


class _Refused:
    """What the lines say, as sets to look into."""

    __slots__ = ("cutoffs", "jtis")

    def __init__(self) -> None:
        self.jtis: set[str] = set()
        self.cutoffs: dict[str, dict[str, int]] = {"client": {}, "partner": {}}

    def add(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            entry = _entry(line)
            if entry is None:
                log.error("a line of the revocations cannot be read and is left out", extra={"bytes": len(line)})
            elif entry["kind"] == "jti":
                self.jtis.add(entry["value"])
            else:
                known = self.cutoffs[entry["kind"]]
                known[entry["value"]] = max(entry["cutoff"], known.get(entry["value"], -1))

    def holds(self, revocation: Revocation) -> bool:
        if revocation.cutoff is None:
            return revocation.value in self.jtis
        return self.cutoffs[revocation.kind].get(revocation.value, -1) >= revocation.cutoff


class Revocations:
    """The revocations in the file at *path*; *counter* tells other processes of a new one.

    Nothing is read before ``load`` or ``refresh``. *version* grows with what this process has read or added. Survives
    a fork.
    """

    def __init__(self, path: Path, counter: Counter) -> None:
        self.version = 0
        self._path = path
        self._counter = counter
        self._seen: int | None = None
        self._refused = _Refused()
        # Kept open: as long as it is, a new file cannot come to the same inode.
        self._descriptor: int | None = None
        self._read_bytes = 0

    @property
    def changed(self) -> bool:
        """Whether another process has revoked something since the last look; one load from memory."""
        return self._counter.read() != self._seen

    def load(self) -> None:
        """Read the file; one that is not there holds nothing. Raises StoreUnavailable."""
        self.refresh()

    def refresh(self) -> bool:
        """Read what was appended, and return whether there was anything. Raises StoreUnavailable.

        Looks at the size of the file too: whoever was killed between append and counter has revoked all the same.
        """
        seen = self._counter.read()
        with self._told():
            grown = self._read()
        self._seen = seen
        return grown

    def is_revoked(self, claims: Claims) -> bool:
        """Return whether the token with *claims* is refused."""
        refused = self._refused
        return (
            claims.jti in refused.jtis
            or claims.issued_at <= refused.cutoffs["client"].get(claims.client, -1)
            or claims.issued_at <= refused.cutoffs["partner"].get(claims.partner, -1)
        )

    def holds(self, revocation: Revocation) -> bool:
        """Return whether *revocation* is in force already, as far as this process has read."""
        return self._refused.holds(revocation)

    def cutoff(self, client: str, partner: str) -> int:
        """Return the last second whose tokens of *client*, of *partner*, are refused; -1 when there is none."""
        cutoffs = self._refused.cutoffs
        return max(cutoffs["client"].get(client, -1), cutoffs["partner"].get(partner, -1))

    def add(self, revocation: Revocation) -> bool:
        """Put *revocation* on disk and in force; return False when it was in force before, and stays as it was.

        Raises BadRequest for a value that cannot be a name, StoreUnavailable when the disk does not take it.
        """
        line = _line(revocation)
        with self._told():
            with self._locked() as descriptor:
                self._read()
                new = not self._refused.holds(revocation)
                if new:
                    self._append(descriptor, line)
                    self._read()
            self._counter.bump()
        return new

    def compact(self, now: float) -> int:
        """Take out what no living token needs any more, and return how many lines that were. Raises StoreUnavailable.

        Whoever reads notices the new file. For the master, before it serves.
        """
        with self._told():
            if not self._path.exists():
                return 0
            with self._locked():
                lines = self._path.read_bytes().split(b"\n")[:-1]
                kept = _living(lines, now)
                if len(kept) == len(lines):
                    return 0
                write_private(self._path, b"".join(line + b"\n" for line in kept))
            self._counter.bump()
        self.refresh()
        return len(lines) - len(kept)

    def close(self) -> None:
        """Close the file; what was read stays in force."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _read(self) -> bool:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False  # nothing was ever revoked, or someone took the file: what is known stays in force
        if self._descriptor is None or not os.path.samestat(status, os.fstat(self._descriptor)):
            return self._read_anew()
        if status.st_size < self._read_bytes:
            return self._read_anew()
        return self._read_tail(self._descriptor)

    def _read_anew(self) -> bool:
        # What is known stays known: a file that was compacted holds less, and so does one that someone took away.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._descriptor, self._read_bytes = descriptor, 0
        return self._read_tail(descriptor)

    def _read_tail(self, descriptor: int) -> bool:
        size = os.fstat(descriptor).st_size
        if size == self._read_bytes:
            return False
        *lines, torn = os.pread(descriptor, size - self._read_bytes, self._read_bytes).split(b"\n")
        self._refused.add(lines)
        self._read_bytes = size - len(torn)
        self.version += bool(lines)
        return bool(lines)

    def _append(self, descriptor: int, line: bytes) -> None:
        # Everything up to here was read under the lock; what follows is half a line.
        whole = self._read_bytes
        os.ftruncate(descriptor, whole)
        try:
            write_all(descriptor, line)
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, whole)
            raise
        if whole == 0:
            sync_directory(self._path.parent)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Give the open file to the one process that may change it; the file of this moment, not one replaced."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_present(descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _is_present(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StoreUnavailable(f"the revocations in {self._path} cannot be used: {exc.strerror}") from exc


def _line(revocation: Revocation) -> bytes:
    if not 0 < len(revocation.value) <= MAX_VALUE_CHARS:
        raise BadRequest(f"a {revocation.kind} has 1 to {MAX_VALUE_CHARS} characters, not {len(revocation.value)}")
    try:
        return orjson.dumps(revocation) + b"\n"
    except orjson.JSONEncodeError as exc:
        raise BadRequest(f"this cannot be a {revocation.kind}: it is not text") from exc


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(line)
        kind, value, cutoff, expires_at = entry["kind"], entry["value"], entry["cutoff"], entry["expires_at"]
    except (ValueError, TypeError, KeyError):
        return None
    fits = cutoff is None if kind == "jti" else isinstance(cutoff, int)
    if fits and kind in KINDS and isinstance(value, str) and isinstance(expires_at, int | float):
        return entry  # type: ignore[no-any-return]
    return None


def _living(lines: Iterable[bytes], now: float) -> list[bytes]:
    """Return the *lines* that some token still needs, of each client and partner the last; unreadable ones stay."""
    kept: dict[object, tuple[int, bytes]] = {}
    for line in lines:
        entry = _entry(line)
        if entry is None:
            kept[line] = (0, line)
        elif entry["expires_at"] + KEPT_S > now:
            name, cutoff = (entry["kind"], entry["value"]), entry["cutoff"] or 0
            if name not in kept or kept[name][0] < cutoff:
                kept[name] = (cutoff, line)
    return [line for _, line in kept.values()]
