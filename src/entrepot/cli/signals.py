"""Signals that end a command in good order: Ctrl-C, SIGTERM, and the terminal that goes away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopSignals:
    """From when it is made, the first of the signals raises KeyboardInterrupt; what comes after it is ignored."""

    def __init__(self) -> None:
        self._asked = False
        self._held = False
        # A shell starts background jobs with SIGINT ignored; this command stops by it all the same. nohup stays nohup.
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._handle)

    def _handle(self, *_: object) -> None:
        first, self._asked = not self._asked, True
        if first and not self._held:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing interrupt what is done inside; a signal that comes meanwhile raises at the end."""
        asked, self._held = self._asked, True
        yield
        self._held = False
        if self._asked and not asked:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Let no signal interrupt what follows."""
        self._held = True
