"""Lines in a file that count once they are synced to disk, and that all processes of the host follow.

Whoever adds a line bumps a counter; others look at the counter, and read the tail of the file when it has grown. A line
that was cut off (kill -9, disk full) never counted: it is not read, and cut away by the next one that is added.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from entrepot.errors import StoreUnavailable
from entrepot.identity.durable import sync_directory, write_all, write_private


class Counter(Protocol):
    """A number that all processes of the host see, and that only grows."""

    def read(self) -> int:
        """Return the present value."""

    def bump(self) -> object:
        """Add one."""


class Journal:
    """The lines of the file at *path*; *take* is called with those that this process has not seen yet.

    A file that was rewritten is read anew from its start, so *take* may be handed a line twice. For one thread at a
    time; survives a fork.
    """

    def __init__(self, path: Path, counter: Counter, take: Callable[[Sequence[bytes]], None]) -> None:
        self._path = path
        self._counter = counter
        self._take = take
        self._seen: int | None = None
        # Kept open: as long as it is, a new file cannot come to the same inode.
        self._descriptor: int | None = None
        self._read_bytes = 0
        self._last = b""

    def has_changed(self) -> bool:
        """Tell whether a line was added since the last look; one load from memory."""
        return self._counter.read() != self._seen

    @property
    def is_open(self) -> bool:
        """Whether a file is followed: lines that go into it are not missed, also when it is rewritten once."""
        return self._descriptor is not None

    def refresh(self) -> None:
        """Take the lines that were added; a file that is not there has none. Raises StoreUnavailable.

        Looks at the size of the file too: what was synced counts, also when its writer was killed before the counter.
        """
        seen = self._counter.read()
        with self._told():
            self._read()
        self._seen = seen

    def add(self, make: Callable[[], bytes]) -> None:
        """Add what *make* returns, which sees all lines taken before it: a line, several, or none when it is empty.

        Raises StoreUnavailable.
        """
        with self._told():
            with self._locked() as descriptor:
                self._read()
                made = make()
                if made:
                    self._append(descriptor, made + b"\n")
            self._counter.bump()
        self.refresh()

    def rewrite(self, kept: Callable[[Sequence[bytes]], Sequence[bytes]]) -> int:
        """Keep those lines alone that *kept* returns of them, and return how many went. Raises StoreUnavailable."""
        with self._told():
            if not self._path.exists():
                return 0
            with self._locked():
                lines = self._path.read_bytes().split(b"\n")[:-1]
                rest = kept(lines)
                if len(rest) == len(lines):
                    return 0
                write_private(self._path, b"".join(line + b"\n" for line in rest))
            self._counter.bump()
        self.refresh()
        return len(lines) - len(rest)

    def close(self) -> None:
        """Close the file; it can be read and added to again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _read(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        if self._descriptor is None or not os.path.samestat(status, os.fstat(self._descriptor)):
            if not S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "is no regular file", str(self._path))
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            if self._descriptor is not None:
                # What was added to the former file before it was rewritten need not stand in the new one.
                self._read_tail(self._descriptor)
            self.close()
            self._descriptor, self._read_bytes, self._last = descriptor, 0, b""
        elif os.pread(self._descriptor, len(self._last), self._read_bytes - len(self._last)) != self._last:
            # What was read last could not be synced, and was taken back.
            self._read_bytes, self._last = 0, b""
        self._read_tail(self._descriptor)

    def _read_tail(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size <= self._read_bytes:
            return
        *lines, torn = os.pread(descriptor, size - self._read_bytes, self._read_bytes).split(b"\n")
        if lines:
            self._take(lines)
            self._read_bytes, self._last = size - len(torn), lines[-1] + b"\n"

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
            raise StoreUnavailable(f"the file {self._path} cannot be used: {exc.strerror}") from exc
