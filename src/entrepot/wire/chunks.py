"""Where a chunked body ends.

llhttp decodes chunks and checks their syntax, but it does not tell where in a read the body ended, and it bounds
neither extensions nor trailers. This scanner walks the same bytes by their sizes; what follows the body is then known
to the byte, and two readings of the same body must agree.
"""

from __future__ import annotations

import re

from entrepot.wire.framing import Refusal

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t;][^\r\n]*)?\r\n")
_MAX_LINE_BYTES = 1_024
_MAX_EXTRA_BYTES = 16_384


class ChunkScanner:
    """Follows one chunked body through the reads that it comes in."""

    __slots__ = ("_extra", "_line", "_skip", "_trailer")

    def __init__(self) -> None:
        self._line = b""
        self._skip = 0
        self._trailer = False
        self._extra = 0

    def end(self, data: bytes, at: int) -> int:
        """Return where in *data* the body that goes on at *at* ends, or -1 when *data* ends first.

        Raises Refusal 400 for what is no chunk size, 431 for too long a line or too much besides the content.
        """
        size = len(data)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                continue
            stop = data.find(b"\n", at) + 1
            line = self._line + (data[at:stop] if stop else data[at:])
            if len(line) > _MAX_LINE_BYTES:
                raise Refusal(431, "a line between chunks is too long")
            if not stop:
                self._line = line
                return -1
            self._line = b""
            at = stop
            if self._ends_at(line):
                return at
        return -1

    def _ends_at(self, line: bytes) -> bool:
        if self._trailer:
            self._charge(len(line))
            return line == b"\r\n"
        match = _SIZE.fullmatch(line)
        if match is None:
            raise Refusal(400, "a chunk has no size")
        length = int(match[1], 16)
        # As in Go's net/http: every chunk pays for 16 bytes of framing and twice its content.
        self._charge(len(line) + 2 - 16 - 2 * length)
        if length:
            self._skip = length + 2
        else:
            self._trailer = True
        return False

    def _charge(self, extra: int) -> None:
        self._extra = max(0, self._extra + extra)
        if self._extra > _MAX_EXTRA_BYTES:
            raise Refusal(431, "too much besides the content of a chunked body")
