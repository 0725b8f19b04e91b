"""How far long work has come, on standard error: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

PLAIN_LINE_EVERY_S = 2.0
# Work of so few is done before anybody could read it.
FEW = 200
_REWRITE, _ERASE_REST = "\r", "\x1b[K"


class Progress:
    """Says after each step of ``doing`` how many of *total* are through; with None, how many there are is not known.

    A context manager: at its end a terminal is left at the beginning of an empty line.
    """

    def __init__(self, doing: str, total: int | None = None) -> None:
        self._doing = doing
        self._total = total
        self._through = 0
        self._said_at = -PLAIN_LINE_EVERY_S
        self._is_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_terminal and self._through >= FEW:
            self._write(_REWRITE + _ERASE_REST)

    def step(self, count: int) -> None:
        """Say that *count* more are through."""
        self._through += count
        if self._through < FEW:
            return
        of = "" if self._total is None else f" of {self._total}"
        text = f"{self._doing}: {self._through}{of}"
        if self._is_terminal:
            self._write(f"{_REWRITE}{text}{_ERASE_REST}")
        elif time.monotonic() - self._said_at >= PLAIN_LINE_EVERY_S:
            self._said_at = time.monotonic()
            self._write(f"{text}\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
