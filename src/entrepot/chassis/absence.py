"""Something that is looked for again and again while it is away, and must not fill the log meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from time import monotonic

AGAIN_S = 60.0


class Absence:
    """Logs *gone* to *log* when something is first found away, once a minute while it is, and *back* when it is back.

    *clock* counts seconds. For one thread.
    """

    def __init__(self, log: logging.Logger, gone: str, back: str, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._gone = gone
        self._back = back
        self._clock = clock
        self._told_at = -inf
        self.is_noted = False
        """Whether it was away when it was last looked for."""

    def note(self, reason: object) -> None:
        """Note that it is away because of *reason*."""
        now = self._clock()
        if not self.is_noted or now - self._told_at >= AGAIN_S:
            self._log.warning(self._gone, extra={"reason": str(reason)})
            self._told_at = now
        self.is_noted = True

    def end(self) -> None:
        """Note that it is there."""
        if self.is_noted:
            self._log.info(self._back)
        self.is_noted = False
