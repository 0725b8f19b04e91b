"""When credentials were last used: a mapped file with one number for each, so that noting a use costs one store.

Nothing is synced: after a power cut the last half minute may be missing. Times are seconds since 1970.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from entrepot.errors import StoreUnavailable

FILE = "credential-uses"
"""The name of the file in the directory of the store."""

_BYTES = 8
_PAGE = mmap.PAGESIZE


class Uses:
    """The times in the file at *path*, by the number that a credential has in its own file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells: memoryview[float] | None = None

    def note(self, number: int, now: float) -> None:
        """Keep that credential *number* was used at *now*; without room for it, nothing is kept."""
        cells = self._cells
        if cells is None or number >= len(cells):
            cells = self._mapped()
        if cells is not None and number < len(cells):
            cells[number] = now

    def at(self, number: int) -> float | None:
        """Return when credential *number* was last used; None when it was not."""
        cells = self._cells
        if cells is None or number >= len(cells):
            cells = self._mapped()
        return cells[number] or None if cells is not None and number < len(cells) else None

    def make_room(self, number: int) -> None:
        """Let the uses of credential *number*, a new one, be noted. Raises StoreUnavailable."""
        size = ((number + 1) * _BYTES + _PAGE - 1) // _PAGE * _PAGE
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Room is taken now: a store into a hole of a file on a full disk would kill the process (SIGBUS).
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise StoreUnavailable(f"the file {self._path} cannot be used: {exc.strerror}") from exc
        self.note(number, 0.0)

    def _mapped(self) -> memoryview[float] | None:
        """Map the file as it is now, and return its cells; None when it is not there or cannot be used."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                # A memoryview keeps its mapping; whoever still has the former one writes to the same file.
                self._cells = memoryview(mmap.mmap(descriptor, 0)).cast("d")
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return None
        return self._cells
