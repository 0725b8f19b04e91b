"""The coarse clock that connections and pools read instead of the system's."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate


class Clock:
    """The time of the last ``tick``: exact enough for deadlines, ``Date`` and log lines, and nearly free to read.

    *now* is monotonic, *wall* is Unix time, both in seconds; *date* is *wall* as an HTTP date (RFC 9110, 5.6.7).
    """

    __slots__ = ("_monotonic", "_second", "_time", "date", "now", "wall")

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._time = wall
        self._second = -1
        self.now = 0.0
        self.wall = 0.0
        self.date = b""
        self.tick()

    def tick(self) -> None:
        """Read the system's clocks; the owner of the loop calls this every 0.25 s."""
        self.now = self._monotonic()
        self.wall = self._time()
        if int(self.wall) != self._second:
            self._second = int(self.wall)
            self.date = formatdate(self._second, usegmt=True).encode("ascii")
