"""A peer's connection to us: bytes in, requests out, answers back in order.

One request is read at a time. The bytes behind it wait unparsed, at most ``Limits.buffer_bytes`` and one read; the
parser gets each head and each body cut out exactly, so what it refuses or completes belongs to one message.
Answers therefore leave in order, and a peer cannot make us hold more than that.

Connections assign ``deadline``, and ``Server.sweep`` compares it: there is no task and no timer per request.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, cast

import httptools

from entrepot.wire.chunks import ChunkScanner
from entrepot.wire.framing import (
    FRAMING,
    HEAD_END,
    Refusal,
    body_length,
    check_head_size,
    check_upgrade,
    expects_continue,
    keeps_alive,
    request_fields,
    request_line,
    too_long_target,
)
from entrepot.wire.heads import PLAIN_LINE, KnownFields
from entrepot.wire.outbound import BODY, DEAF, HEAD, WAIT, Outbound
from entrepot.wire.request import BodySink, Request

if TYPE_CHECKING:
    from entrepot.wire.server import Server

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BYTES_A_SECOND = 16_384
_CR = 13


class ServerConnection(Outbound):
    """One connection of a peer. *peer* is its address without port, "" on a unix socket.

    Apart from *peer* and *transport* everything here is between the connection, its request and the server.
    """

    __slots__ = (
        "body_from",
        "chunks",
        "complete",
        "expecting",
        "fed",
        "left",
        "parser",
        "paused_at",
        "peer",
        "pieces",
        "pumping",
        "raw",
        "received",
        "sink",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.peer = ""
        self.raw: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(_Callbacks(self))
        self.pumping = False
        # How much the parser has seen of a head that is not whole.
        self.fed = 0
        # The body that is being read: who takes it, how far it is, when its time began, what is paused.
        self.sink: BodySink | None = None
        self.chunks: ChunkScanner | None = None
        self.left = self.received = 0
        self.expecting = False
        self.body_from = self.paused_at = 0.0

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part in the server's sweeps."""
        self.transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):
            self.peer = address[0]
        self.transport.set_write_buffer_limits(high=self.limits.buffer_bytes)
        self.server.enter(self)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, as far as it is its turn."""
        if self.phase == HEAD and not self.buffer and self.writable:
            end = data.find(HEAD_END)
            # By far the most frequent read: one head, nothing before and nothing behind it.
            if end > 0 and end == len(data) - 4 and data[0] != _CR:
                self._begin(data)
                return
        elif self.phase == DEAF:
            return
        self.buffer += data
        self.pump()

    def eof_received(self) -> bool:
        """Answer what was asked before the peer closed its side; drop what it left unfinished."""
        self.eof = self.ending = True
        if self.phase == HEAD:
            return bool(self.buffer) and not self.writable
        if self.request is None or self.phase == BODY:
            return False
        if not self.answering:
            self.deadline = self.clock.now + self.limits.half_close_s
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """Tell the request that its peer has gone."""
        self.server.leave(self)
        self.phase = DEAF
        # The parser's callbacks lead back here: without this every connection is a cycle for the collector.
        self.parser = cast("httptools.HttpRequestParser", None)
        self.sink = None
        self.buffer = b""
        request, self.request = self.request, None
        if request is not None:
            request.on_gone()

    # Reading.

    def pump(self) -> None:
        """Read message after message until one has to be waited for; never recursively."""
        if self.pumping:
            return
        self.pumping = True
        try:
            while self.at < len(self.buffer) and self._step():
                pass
        finally:
            self.pumping = False
        if self.at or self.phase == DEAF:
            self.buffer = b"" if self.phase == DEAF else self.buffer[self.at :]
            self.at = 0
        self.hold()
        if self.eof and self.phase == HEAD and self.writable:
            self.close()

    def _step(self) -> bool:
        if self.phase == HEAD:
            return self.writable and self._take_head()
        if self.phase == BODY and not self.body_paused:
            self._take_body()
            return True
        return False

    def hold(self) -> None:
        """Stop or go on reading from the socket, as there is room."""
        full = len(self.buffer) > self.limits.buffer_bytes
        hold = self.phase != DEAF and (full or (self.body_paused and self.phase == BODY))
        if hold is not self.held:
            self.held = hold
            if hold:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _take_head(self) -> bool:
        buffer = self.buffer
        while not self.fed and buffer.startswith(b"\r\n", self.at):
            self.at += 2  # RFC 9112, 2.2: an empty line before a request is ignored.
        end = buffer.find(HEAD_END, self.at) + 4
        if end < 4:
            self._take_partial_head()
            return False
        head = buffer[self.at : end]
        self.at = end
        self._begin(head)
        return True

    def _take_partial_head(self) -> None:
        """Show the parser what there is of a head, so that rubbish is refused without waiting for its end."""
        part = self.buffer[self.at :]
        if not self.fed:
            self.deadline = self.clock.now + self.limits.header_timeout_s
            if part == b"\r":
                return  # Half of an empty line, which is not for the parser.
        try:
            self._feed(part[self.fed :])
            check_head_size(part, self.limits)
        except Refusal as exc:
            self.refuse(exc.status, exc.detail, part)
        self.fed = len(part)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade that is going to be ignored; CONNECT ends here as well and is refused by its method.
            pass
        except httptools.HttpParserError as exc:
            text = str(exc)
            raise Refusal(505 if text == "Invalid HTTP version" else 400, text or "not HTTP") from exc

    def _begin(self, head: bytes) -> None:
        """Make a request of a whole head and start it."""
        try:
            request = self._parse(head)
        except Refusal as exc:
            self.refuse(exc.status, exc.detail, head)
            return
        self.request = request
        if self.phase == BODY and self.at < len(self.buffer):
            self._take_body()
        elif self.eof:
            self.deadline = self.clock.now + self.limits.half_close_s
        if self.request is request and self.phase != DEAF:
            request.on_start()

    def _parse(self, head: bytes) -> Request:
        limits = self.limits
        if len(head) > limits.max_target_bytes:
            check_head_size(head, limits)
        line = PLAIN_LINE.match(head)
        block = b"" if line is None or self.fed else head[line.end() :]
        known = self.server.known_heads.get(block)
        if line is None or known is None:
            return self._read(head, block)
        method, target = line.groups()
        if len(target) > limits.max_target_bytes:
            raise too_long_target(limits)
        return self._made(method, target, 1, known)

    def _read(self, head: bytes, block: bytes) -> Request:
        """Make a request of a head by the parser; *block* is what may be remembered of it, if it is not empty."""
        self.complete = False
        self._feed(head[self.fed :] if self.fed else head)
        self.fed = 0
        method, target, minor = request_line(head, self.limits)
        known = KnownFields(request_fields(self.raw, head, minor, self.limits), {})
        self.raw.clear()
        request = self._made(method, target, minor, known)
        if not FRAMING.isdisjoint(known.fields):
            self._frame(request)
        elif not self.complete:
            self._check_agreement(True)
        if block and request.keep_alive:
            self.server.known_heads.learn(block, known)
        return request

    def _made(self, method: bytes, target: bytes, minor: int, known: KnownFields) -> Request:
        """Return a request that has no body, as far as is known yet."""
        request = self.server.make_request(self)
        request.connection = self
        request.method = method
        request.target = target
        request.minor = minor
        request.fields, request.notes = known
        request.content_length = None
        request.chunked = False
        request.body = b""
        request.body_complete = True
        request.keep_alive = minor == 1
        self.phase = WAIT
        self.deadline = inf
        return request

    def _check_agreement(self, done: bool) -> None:
        """Raise Refusal unless the parser ends the message where we do: what can be read in two ways is not read."""
        if self.complete is not done:
            raise Refusal(400, "where the message ends is ambiguous")

    def _frame(self, request: Request) -> None:
        """Find out how the body ends, and whether the connection stays; raise Refusal."""
        fields, minor = request.fields, request.minor
        check_upgrade(fields)
        request.keep_alive = keeps_alive(fields, minor)
        length = body_length(fields, minor)
        self.expecting = bool(length) and expects_continue(fields, minor)
        if b"upgrade" in fields and length and self.complete:
            self._ignore_upgrade(length)
        self._check_agreement(not length)
        if length is not None and length >= 0:
            request.content_length = length
        if not length:
            return
        request.chunked = length < 0
        request.body_complete = False
        self.phase = BODY
        self.left = length
        self.chunks = ChunkScanner() if length < 0 else None
        self.received = 0
        self.body_from = self.clock.now + self.limits.body_timeout_s
        # Who waits for 100 is not slow before it has been sent.
        self.deadline = inf if self.expecting else self.body_from

    def _ignore_upgrade(self, length: int) -> None:
        """Give the body to a parser of its own: after an upgrade llhttp parses none."""
        self.parser = httptools.HttpRequestParser(_Callbacks(self))
        framing = b"Transfer-Encoding: chunked" if length < 0 else b"Content-Length: %d" % length
        self.complete = False
        self._feed(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)

    def _take_body(self) -> None:
        """Take what there is of the body, to its end at most."""
        buffer, at = self.buffer, self.at
        try:
            if self.chunks is not None:
                end = self.chunks.end(buffer, at)
                done = end >= 0
            else:
                end = at + self.left
                done = end <= len(buffer)
                self.left = max(0, end - len(buffer))
            piece = buffer[at:end] if done else buffer[at:]
            self.at += len(piece)
            self._feed(piece)
            self._check_agreement(done)
        except Refusal as exc:
            self.refuse(exc.status, exc.detail)
            return
        self.received += len(piece)
        self.expecting = False
        self.deadline = self.body_from + self.received / _BYTES_A_SECOND
        self._deliver(done)

    def _deliver(self, done: bool) -> None:
        chunk = b"".join(self.pieces)
        self.pieces.clear()
        request = self.request
        if done:
            self._end_body()
        if request is None:
            return
        request.body_complete = done
        sink = self.sink
        if sink is None:
            request.body += chunk
            if not done and len(request.body) > self.limits.buffer_bytes:
                self.pause_body()
            return
        if chunk:
            sink.on_body(chunk)
        if done and self.request is request and self.phase != DEAF:
            self.sink = None
            sink.on_body_end()

    def _end_body(self) -> None:
        self.chunks = None
        self.raw.clear()  # Trailers went there.
        if self.request is None:
            self.phase = HEAD
            self.deadline = self.clock.now + self.server.idle_s
        else:
            self.phase = WAIT
            self.deadline = inf

    # What the request asks for.

    def stream(self, request: Request, sink: BodySink) -> None:
        """Hand the body of *request* to *sink*, beginning with what has come."""
        if self.request is not request:
            return
        first, request.body = request.body, b""
        if self.expecting:
            self.expecting = False
            self.body_from = self.deadline = self.clock.now + self.limits.body_timeout_s
            self.transport.write(_CONTINUE)
        self._unpause()
        self.sink = None if request.body_complete else sink
        if first:
            sink.on_body(first)
        if self.request is not request or self.phase == DEAF:
            return
        if request.body_complete:
            sink.on_body_end()
        else:
            self.pump()

    def pause_body(self) -> None:
        """Stop reading the body; its deadline waits too."""
        if self.phase == BODY and not self.body_paused:
            self.body_paused = True
            self.paused_at = self.clock.now
            self.deadline = inf
            self.hold()

    def resume_body(self) -> None:
        """Go on reading the body."""
        self._unpause()
        self.pump()

    def _unpause(self) -> None:
        if self.body_paused:
            self.body_paused = False
            self.body_from += self.clock.now - self.paused_at
            self.deadline = self.body_from + self.received / _BYTES_A_SECOND

    def refuse(self, status: int, detail: str, head: bytes = b"") -> None:
        """Let the request, or one made for the purpose, answer *status*; read nothing more."""
        request = self.request
        if request is not None and self.answering:
            self.abort()
            return
        if request is None:
            request = self.request = self._rejected(head)
        request.keep_alive = False
        self.phase = DEAF
        self.sink = None
        self.pieces.clear()
        self.deadline = self.clock.now + self.limits.write_timeout_s
        request.on_refused(status, detail)

    def _rejected(self, head: bytes) -> Request:
        """Return a request that has method and target if *head* has, and nothing else."""
        words = head.partition(b"\r\n")[0].split(b" ")
        named = len(words) == 3 and words[0].isalpha()
        method, target = words[:2] if named else (b"", b"")
        return self._made(method, target, 1, KnownFields({}, {}))

    def may_keep(self, request: Request) -> bool:
        """Return whether another request may follow the one that is now answered."""
        if self.ending and self.at >= len(self.buffer):
            return False
        # A short rest of the body is read and dropped, which is cheaper for both sides than a new connection.
        return request.body_complete or (
            not self.expecting and self.chunks is None and self.left <= self.limits.buffer_bytes
        )

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if now >= self.write_deadline:
            self.check_writing(now)
        if now < self.deadline:
            return
        if self.phase == DEAF and self.request is None:
            self.end_linger(now)
        elif self.phase == HEAD and not self.buffer:
            # Nothing is unread and nothing unanswered: there is no reset that could eat an answer.
            self.phase = DEAF
            self.deadline = inf
            self.transport.close()
        elif self.phase == HEAD or (self.phase == BODY and self.request is not None):
            self.refuse(408, "the request was sent too slowly", self.buffer)
        else:
            self.abort()


class _Callbacks:
    """What the parser calls: as little Python as possible."""

    __slots__ = ("_connection", "on_body", "on_header")

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self.on_header = connection.raw.setdefault
        self.on_body = connection.pieces.append

    def on_message_complete(self) -> None:
        self._connection.complete = True
