"""The half of a peer's connection that sends answers, and ends the connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from math import inf
from typing import TYPE_CHECKING, cast

from entrepot.wire.request import Request

if TYPE_CHECKING:
    from entrepot.wire.server import Server

# What a connection waits for: a head, the rest of a body, an answer, or (DEAF) its end; DEAF drops what still comes.
HEAD, BODY, WAIT, DEAF = range(4)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Outbound(asyncio.Protocol):
    """Writes the answer of the current request. See ``ServerConnection``, its only subclass."""

    __slots__ = (
        "answering",
        "at",
        "bare",
        "body_paused",
        "buffer",
        "chunking",
        "clock",
        "deadline",
        "ending",
        "eof",
        "held",
        "keep",
        "limits",
        "out_left",
        "phase",
        "request",
        "server",
        "transport",
        "unsent",
        "writable",
        "write_deadline",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.limits = server.limits
        self.clock = server.clock
        self.transport = cast("asyncio.Transport", None)
        self.phase = HEAD
        self.request: Request | None = None
        self.deadline = self.clock.now + server.idle_s
        self.write_deadline = inf
        # *ending*: no request that is still to come will be answered.
        self.ending = server.draining
        self.eof = False
        # Input that is not parsed yet, from *at* on, and whether we have stopped reading.
        self.buffer = b""
        self.at = 0
        self.held = self.body_paused = False
        # The answer: begun, chunked, without body, connection kept; what is missing to its announced length.
        self.answering = self.chunking = self.bare = self.keep = False
        self.out_left: int | None = None
        self.writable = True
        self.unsent = 0

    # Supplied by the subclass.

    def pump(self) -> None:
        """Go on with what has come."""
        raise NotImplementedError

    def hold(self) -> None:
        """Stop or go on reading from the socket, as there is room."""
        raise NotImplementedError

    def may_keep(self, request: Request) -> bool:
        """Return whether another request may follow the one that is now answered."""
        raise NotImplementedError

    # What the transport calls.

    def pause_writing(self) -> None:
        """Stop producing, and stop reading requests, of a peer that does not read."""
        self.writable = False
        self.unsent = self.transport.get_write_buffer_size()
        self.write_deadline = self.clock.now + self.limits.write_timeout_s
        if self.request is not None and self.answering:
            self.request.on_pause()

    def resume_writing(self) -> None:
        """Go on with a peer that reads again."""
        self.writable = True
        self.write_deadline = inf
        if self.request is not None and self.answering:
            self.request.on_resume()
        if self.buffer:
            self.pump()

    # What the request asks for.

    def finish(self, data: bytes, keep: bool, large: bytes = b"") -> None:
        """Write *data*, the last of an answer, and go on to the next request or close.

        *large* follows *data* and is not worth a copy.
        """
        self.request = None
        self.answering = False
        if self.phase == WAIT:
            self.phase = HEAD
            self.deadline = self.clock.now + self.server.idle_s
        # All is set before the write, because it may call ``pause_writing``.
        if data:
            self.transport.write(data)
        if large:
            self.transport.write(large)
        if not keep:
            self.close()
        elif self.buffer or self.held:
            self.body_paused = False
            self.pump()

    def begin_answer(self, request: Request, *, bare: bool, length: int | None) -> bool:
        """Note how the answer ends; return whether the connection stays."""
        self.keep = request.keep_alive and self.may_keep(request)
        self.answering = True
        self.bare = bare
        self.chunking = length is None and request.minor == 1
        self.out_left = length
        if self.phase == WAIT:
            self.deadline = inf
        return self.keep

    def send_part(self, head: bytes, chunk: bytes) -> None:
        """Write *head* and a part of the body; more than was announced breaks the connection."""
        if self.bare:
            chunk = b""
        if self.out_left is not None:
            self.out_left -= len(chunk)
            if self.out_left < 0:
                self.abort()
                return
        if not chunk:
            if head:
                self.transport.write(head)
            return
        if self.chunking:
            head += b"%x\r\n" % len(chunk)
        end = b"\r\n" if self.chunking else b""
        if len(chunk) < self.limits.buffer_bytes:
            self.transport.write(head + chunk + end)
            return
        # Not ``writelines``: some releases of asyncio do not pause the protocol after it.
        for part in (head, chunk, end):
            if part:
                self.transport.write(part)

    def end_answer(self, last: bytes) -> None:
        """Write the *last* part and the end of the body; an answer shorter than announced breaks the connection."""
        if self.bare:
            data = b""
        elif self.chunking:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n"
        elif self.out_left is not None and self.out_left != len(last):
            self.abort()
            return
        else:
            data = last
        self.finish(data, self.keep and (not self.ending or self.at < len(self.buffer)))

    # The end.

    def close(self) -> None:
        """Close after what was written; what still comes is read and dropped for a while.

        Closing a socket that has unread bytes resets the connection, and the reset can overtake the answer.
        """
        self.phase = DEAF
        self.buffer = b""
        self.at = 0
        self.deadline = self.clock.now + self.limits.linger_s
        if self.transport.is_closing():
            return
        if self.eof:
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()
        else:
            self.hold()

    def abort(self) -> None:
        """Break the connection with a reset: an end of stream could pass for the end of an answer."""
        self.phase = DEAF
        self.answering = True
        self.deadline = self.write_deadline = inf
        peer = self.transport.get_extra_info("socket")
        if peer is not None and peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def check_writing(self, now: float) -> None:
        """Break a connection whose peer has taken less than ``Limits.buffer_bytes`` in the time it had."""
        unsent = self.transport.get_write_buffer_size()
        if unsent > self.unsent - self.limits.buffer_bytes:
            self.abort()
        else:
            self.unsent = unsent
            self.write_deadline = now + self.limits.write_timeout_s

    def end_linger(self, now: float) -> None:
        """End a connection that is closing, unless its last answer is still being read."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self.transport.abort()
            return
        self.deadline = now + self.limits.linger_s
        if self.write_deadline == inf:
            # Less is left than makes ``pause_writing`` run: any progress will do.
            self.unsent = unsent + self.limits.buffer_bytes - 1
            self.write_deadline = now + self.limits.write_timeout_s
