"""Write many lines to one file descriptor at little cost, and never wait for its reader."""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
from collections.abc import Callable
from functools import partial

log = logging.getLogger(__name__)

BATCH_LINES = 256
BATCH_BYTES = 30_000
BACKLOG_BYTES = 1 << 20


class LineWriter:
    """Gathers lines and writes up to 256 of them, or 30 KB, at once; ``flush`` is to be called once a second or so.

    *fd* is never closed, and its flags are not changed: other processes may share it. When its reader is slow, up to
    1 MiB waits and further lines are dropped; when it is gone, all are. ``dropped`` counts them, and the log says so as
    soon as lines can be written again. Not for several threads.
    """

    __slots__ = (
        "_batch",
        "_close",
        "_due_bytes",
        "_fresh",
        "_lines",
        "_piece_bytes",
        "_send",
        "_size",
        "_told",
        "dropped",
    )

    def __init__(self, fd: int) -> None:
        self._begin(*_open_sender(fd))

    def _begin(
        self, send: Callable[[bytes], int], piece_bytes: int, close: Callable[[], None], batch: int = BATCH_LINES
    ) -> None:
        """Write by *send* at most *piece_bytes* at once, or one line if that is more; *close* ends it.

        *batch* is how many lines are gathered.
        """
        self._send, self._piece_bytes, self._close, self._batch = send, piece_bytes, close, batch
        self._lines: list[bytes] = []
        self._size = 0
        self._fresh = 0
        self._due_bytes = BATCH_BYTES
        self._told = 0
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Take *line*, which ends with a newline."""
        self._lines.append(line)
        self._size += len(line)
        self._fresh += 1
        if self._fresh >= self._batch or self._size >= self._due_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as the descriptor takes it now."""
        self._fresh = 0
        written = self._send_pieces()
        self._due_bytes = self._size + BATCH_BYTES
        if written and self.dropped > self._told:
            count, self._told = self.dropped - self._told, self.dropped
            # This may end in a line for this very writer.
            log.warning("lines of the log were dropped, their reader was too slow", extra={"lines": count})

    def close(self) -> None:
        """Flush, and drop what the descriptor does not take, and all that may come yet."""
        self.flush()
        self._drop(0)
        self._close()
        # The number of the descriptor may soon be another file's.
        self._send, self._close = _refuse, _nothing

    def _send_pieces(self) -> bool:
        """Write what waits; return whether there was something, and all of it is written."""
        written = False
        while self._lines:
            count, piece = self._next_piece()
            try:
                sent = self._send(piece)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(0)
                return False
            self._size -= sent
            if sent < len(piece):
                self._lines[:count] = [piece[sent:]]
                self._drop_overflow()
                return False
            del self._lines[:count]
            written = True
        return written

    def _next_piece(self) -> tuple[int, bytes]:
        if self._size <= self._piece_bytes:
            return len(self._lines), b"".join(self._lines)
        count, size = 1, len(self._lines[0])
        while count < len(self._lines) and size + len(self._lines[count]) <= self._piece_bytes:
            size += len(self._lines[count])
            count += 1
        return count, b"".join(self._lines[:count])

    def _drop_overflow(self) -> None:
        if self._size > BACKLOG_BYTES:
            # The first stays, because a part of it may be written already.
            self._drop(1)

    def _drop(self, first: int) -> None:
        self.dropped += len(self._lines) - first
        del self._lines[first:]
        self._size = sum(map(len, self._lines))


def _open_sender(fd: int) -> tuple[Callable[[bytes], int], int, Callable[[], None]]:
    """Return how to send without waiting, how many bytes at once, and how to end it.

    O_NONBLOCK belongs to the open file, which other processes share, so it must not be set on *fd*: a socket takes a
    flag for each call, and a pipe is opened a second time. Pieces of PIPE_BUF keep the lines of two processes apart
    (pipe(7)).
    """
    kind = os.fstat(fd).st_mode
    if stat.S_ISSOCK(kind):
        sock = socket.socket(fileno=os.dup(fd))
        return partial(_send_now, sock), BATCH_BYTES, sock.close
    if stat.S_ISFIFO(kind):
        try:
            own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return partial(os.write, fd), select.PIPE_BUF, _nothing
        return partial(os.write, own), select.PIPE_BUF, partial(os.close, own)
    return partial(os.write, fd), BATCH_BYTES, _nothing


def _send_now(sock: socket.socket, data: bytes) -> int:
    return sock.send(data, socket.MSG_DONTWAIT)


def _refuse(_data: bytes) -> int:
    raise BrokenPipeError


def _nothing() -> None:
    return None
