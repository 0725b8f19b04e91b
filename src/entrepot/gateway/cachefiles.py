"""Cached answers as files: one for each, which other workers and the next start find.

A file holds the epoch and the generation of its endpoint at the time the upstream was asked; the cache takes it only
when both are still in force. It is written beside its place and renamed, never synced: what a crash tears fails its
checksum.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from entrepot.chassis.shared import SharedState

_MAGIC = b"ANSWER01"
# magic, checksum of all that follows it, epoch, generation, three moments, status, six lengths
_HEAD = struct.Struct("<8s16s16sqdddi6I")
_CHECKED_FROM = 24
_BLOCK_BYTES = 4096
# A pruning makes so much room that the next one is some time off.
_KEPT = 0.9
_AGE_GRAIN_S = 10.0


class DamagedError(ValueError):
    """The bytes are no entry, or not the whole of one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as it was stored: *fields* is a block of header lines, *meta* is the caller's own.

    Moments are Unix times. Fresh before *fresh_until*; up to *stale_until* it may be used when the upstream fails.
    """

    status: int
    fields: bytes
    data: bytes
    meta: bytes
    etag: bytes
    stored_at: float
    fresh_until: float
    stale_until: float

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return 320 + len(self.fields) + len(self.data) + len(self.meta) + len(self.etag)


@dataclass(frozen=True, slots=True)
class Label:
    """What an entry is of: its key and endpoint, and the counters that were in force when the upstream was asked."""

    key: bytes
    endpoint: str
    epoch: bytes
    generation: int


def encode(label: Label, entry: Entry) -> bytes:
    """Return the file of *entry*."""
    parts = (label.endpoint.encode(), label.key, entry.fields, entry.data, entry.meta, entry.etag)
    moments = (entry.stored_at, entry.fresh_until, entry.stale_until)
    lengths = tuple(len(part) for part in parts)
    head = _HEAD.pack(_MAGIC, b"", label.epoch, label.generation, *moments, entry.status, *lengths)
    rest = head[_CHECKED_FROM:] + b"".join(parts)
    return _MAGIC + _checksum(rest) + rest


def decode(raw: bytes) -> tuple[Label, Entry]:
    """Return what *raw* is of, and the entry. Raises DamagedError."""
    if len(raw) < _HEAD.size or not raw.startswith(_MAGIC):
        raise DamagedError("this is no cached answer")
    if raw[len(_MAGIC) : _CHECKED_FROM] != _checksum(raw[_CHECKED_FROM:]):
        raise DamagedError("the checksum of a cached answer is wrong")
    _, _, epoch, generation, stored_at, fresh_until, stale_until, status, *lengths = _HEAD.unpack_from(raw)
    parts = []
    start = _HEAD.size
    for length in lengths:
        parts.append(raw[start : start + length])
        start += length
    endpoint, key, fields, data, meta, etag = parts
    label = Label(key, endpoint.decode(), epoch, generation)
    return label, Entry(status, fields, data, meta, etag, stored_at, fresh_until, stale_until)


def _checksum(rest: bytes) -> bytes:
    return blake2b(rest, digest_size=16).digest()


class EntryFiles:
    """The files of one cache, at most *limit_bytes* of disk blocks for all processes of the host together."""

    def __init__(self, directory: Path, shared: SharedState, limit_bytes: int) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self._words = shared.words
        self._used = shared.slot(f"cache:{directory}")  # blocks in bytes; changed only under the lock file

    def path(self, key: bytes) -> Path:
        """Return where the entry of *key* lies."""
        name = blake2b(key, digest_size=20).hexdigest()
        return self.directory / name[:2] / name[2:]

    def read(self, key: bytes) -> bytes | None:
        """Return the file of *key*, None when there is none. Raises OSError."""
        try:
            with self.path(key).open("rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def drop(self, key: bytes) -> None:
        """Remove the file of *key*, if that can be done."""
        with suppress(OSError):
            self.path(key).unlink()

    def write(self, key: bytes, raw: bytes) -> None:
        """Put *raw* in the place of *key*; remove old entries first when there is no room. Raises OSError."""
        path = self.path(key)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with self._locked():
            self._make_room(_blocks(len(raw)))
            replaced = _size_of(path)
            # Counted before it is there: a kill in between counts too much, which the next pruning puts right.
            self._words[self._used] += _blocks(len(raw))
            try:
                _write_atomically(path, raw)
            except OSError:
                replaced = _blocks(len(raw))
                raise
            finally:
                self._words[self._used] -= replaced

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make_room(self, needed_bytes: int) -> None:
        if self._words[self._used] == 0:
            self._words[self._used] = sum(size for _, _, size in self._scan())
        if self._words[self._used] + needed_bytes > self.limit_bytes:
            self._prune(min(int(self.limit_bytes * _KEPT), self.limit_bytes - needed_bytes))

    def _prune(self, target_bytes: int) -> None:
        """Remove the oldest until *target_bytes* are left; counts all anew."""
        ages: Counter[int] = Counter()
        for _, age, size in self._scan():
            ages[age] += size
        used = ages.total()
        newest_removed, excess = -1, used - target_bytes
        for age in sorted(ages):
            if excess <= 0:
                break
            newest_removed = age
            excess -= ages[age]
        for path, age, size in self._scan():
            # The last age goes only as far as needed.
            if age < newest_removed or (age == newest_removed and used > target_bytes):
                path.unlink(missing_ok=True)
                used -= size
        self._words[self._used] = used

    def _scan(self) -> Iterator[tuple[Path, int, int]]:
        """Yield every file with its age class and its size in blocks, leftovers of killed writers too."""
        for part in self.directory.iterdir():
            if part.is_dir():
                for path in part.iterdir():
                    with suppress(FileNotFoundError):
                        stat = path.stat()
                        yield path, int(stat.st_mtime // _AGE_GRAIN_S), _blocks(stat.st_size)
                # The loop of this process runs meanwhile and wants the interpreter.
                time.sleep(0)


def _blocks(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


def _size_of(path: Path) -> int:
    try:
        return _blocks(path.stat().st_size)
    except FileNotFoundError:
        return 0


def _write_atomically(path: Path, raw: bytes) -> None:
    fresh = path.with_name(f"{os.getpid()}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
        fresh.rename(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
