"""A connection to an upstream: one request out, one answer in, then the next.

The parser's callbacks collect; one method of the call follows each read. The connection gives itself back to its pool
before it tells the call that the answer is complete, so that the next call can take it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, cast

import httptools

from entrepot.wire.call import Answer, AnswerFields, Call, Failure, Fault
from entrepot.wire.framing import BODILESS, HEAD_END, LOWER, field_lines, keeps_alive

if TYPE_CHECKING:
    from entrepot.wire.pool import Pool

__all__ = ["ClientConnection", "Failure", "Fault"]

MAX_HEAD_BYTES = 65_536
_JOIN_BELOW = 65_536
_TOLD_APART = frozenset({b"content-length", b"date"})
_TOO_LONG = f"more than {MAX_HEAD_BYTES} bytes that are no content"


class _Ambiguous(Exception):
    pass


class ClientConnection(asyncio.Protocol):
    """One connection to an upstream, made and owned by a ``Pool``."""

    __slots__ = (
        "_answer",
        "_barren",
        "_body_sent",
        "_complete",
        "_head",
        "_head_at",
        "_interim",
        "_keep",
        "_length",
        "_parser",
        "_paused_at",
        "_paused_s",
        "_pending",
        "_pool",
        "_received",
        "_spoilt",
        "_told",
        "_until_close",
        "begun",
        "call",
        "deadline",
        "pieces",
        "raw",
        "reused",
        "task",
        "transport",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self.call: Call | None = None
        self.deadline = inf
        self.reused = False
        self.raw: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(_Callbacks(self))
        self._spoilt = False
        self._pending: list[bytes] = []
        self._paused_at: float | None = None
        self._body_sent = True

    # What the pool and the call ask for.

    def begin(self, call: Call) -> None:
        """Send a request, or keep it until the connection is there."""
        self.call = call
        self._answer: Answer | None = None
        self._head = b""
        self._head_at = 0
        self.begun = 0
        self._received = self._barren = 0
        self._paused_s = 0.0
        self._length: int | None = None
        self._complete = self._told = self._interim = self._keep = self._until_close = False
        self._body_sent = call.streaming is None
        if self._spoilt:
            self._parser = httptools.HttpResponseParser(_Callbacks(self))
            self._spoilt = False
        call.upstream = self
        if self.transport is None:
            self._pending.append(call.data)
        else:
            self.deadline = call.deadline
            self.transport.write(call.data)

    def write_body(self, chunk: bytes) -> None:
        """Send a part of a streamed body, framed as the head said."""
        if self.call is None or self._body_sent or not chunk:
            return
        if self.call.streaming == "chunked":
            self._write((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
        else:
            self._write((chunk,))

    def end_body(self) -> None:
        """End a streamed body; the upstream's time begins."""
        if self.call is None or self._body_sent:
            return
        self._body_sent = True
        self._begin_turn()
        if self.call.streaming == "chunked":
            self._write((b"0\r\n\r\n",))

    def _begin_turn(self) -> None:
        """Let the upstream's time run; by the loop's clock, because the coarse one would take a part of it away."""
        self._set_deadline(self._pool.loop.time() + self._pool.patience.body_s)

    def _set_deadline(self, deadline: float) -> None:
        if self.call is not None:
            self.call.deadline = deadline
        if self.transport is not None and self._paused_at is None:
            self.deadline = deadline

    def _write(self, parts: tuple[bytes, ...]) -> None:
        if self.transport is None:
            before = self._pending_bytes()
            self._pending.extend(parts)
            if before <= _JOIN_BELOW < self._pending_bytes() and self.call is not None:
                self.call.on_pause_upstream()
        elif sum(map(len, parts)) < _JOIN_BELOW:
            self.transport.write(b"".join(parts))
        else:
            for part in parts:
                self.transport.write(part)

    def _pending_bytes(self) -> int:
        return sum(map(len, self._pending))

    def pause(self) -> None:
        """Stop reading the answer, for ``Patience.pause_s`` at most; that time is not the upstream's."""
        if self.call is not None and self.transport is not None and self._paused_at is None:
            self._paused_at = self._pool.clock.now
            self.deadline = self._paused_at + self._pool.patience.pause_s - self._paused_s
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading the answer."""
        if self._paused_at is not None and self.call is not None and self.transport is not None:
            paused_s = self._pool.clock.now - self._paused_at
            self._paused_s += paused_s
            self._paused_at = None
            self._set_deadline(self.call.deadline + paused_s)
            self.transport.resume_reading()

    def cancel(self) -> None:
        """Forget the call: nobody wants its answer any more; it hears nothing further."""
        if self.call is None:
            return
        self._part()
        # Also when it is still being made: who counts requests in flight would count less than there is.
        self._break()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what waited for the connection, unless that was given up meanwhile, or its time has passed."""
        if self.call is not None and self._pool.loop.time() > self.deadline:
            # The process was stopped meanwhile, or nobody would have waited for the next sweep.
            cast("asyncio.Transport", transport).abort()
            self.expire()
            return
        self.transport = cast("asyncio.Transport", transport)
        self.task = None
        if self._pool.closed or self._spoilt:
            self.close()
        elif self.call is None:
            self._pool.give_back(self)
        else:
            self.deadline = self.call.deadline
            held = self._pending_bytes() > _JOIN_BELOW
            data = b"".join(self._pending)
            self._pending.clear()
            self.transport.write(data)
            if held and not self._body_sent and self.transport.get_write_buffer_size() < _JOIN_BELOW:
                self.call.on_resume_upstream()

    def data_received(self, data: bytes) -> None:
        """Parse what has come and hand it on."""
        call = self.call
        if call is None:
            self._break()  # Nobody asked: whatever this is, it must not become the answer to the next request.
            return
        if self._answer is None:
            if not self.begun and self._is_plain(call, data):
                return
            self._head = self._head + data if self._head else data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self._complete:
                self._fail(Fault.GARBAGE, str(exc.__context__ or exc))
                return
            self.begun = 2
        if self._answer is None:
            if len(self._head) - self._head_at > MAX_HEAD_BYTES:
                self._fail(Fault.GARBAGE, _TOO_LONG)
            return
        pieces = self.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._hand_on(call, self._answer, body, len(data))

    def _is_plain(self, call: Call, data: bytes) -> bool:
        """Hand *data* on when it is by itself a whole answer with a known head, as most are; no parser is asked."""
        known = self._pool.known_answers.find(data) if not (call.head_only or self._head) else None
        if known is None or (call.max_body_bytes is not None and len(known[1]) > call.max_body_bytes):
            return False
        answer, body = known
        self._keep, self.begun = True, 1
        self._settle()
        call.on_answer(answer, body, True, len(body))
        return True

    def _hand_on(self, call: Call, answer: Answer, body: bytes, size: int) -> None:
        if call.max_body_bytes is not None:
            self._received += len(body)
            if max(self._received, 0 if call.head_only else self._length or 0) > call.max_body_bytes:
                self._fail(Fault.TOO_LARGE, f"a body of more than {call.max_body_bytes} bytes")
                return
        complete = self._complete
        if body or complete:
            self._barren = 0
        elif self._told:
            # Chunk extensions and trailers: llhttp takes any number of them.
            self._barren += size
            if self._barren > MAX_HEAD_BYTES:
                self._fail(Fault.GARBAGE, _TOO_LONG)
            return
        told, self._told = self._told, True
        length = self._length
        if complete:
            if call.head_only:
                self._spoilt = True  # The parser would take the next answer for the body of this one.
                self._keep = self._keep and not body
                body = b""
            self._settle()
        if told:
            call.on_data(body, complete)
        else:
            call.on_answer(answer, body, complete, length)

    def _part(self) -> None:
        # Who kept the reference could otherwise cancel the next call on this connection.
        if self.call is not None:
            self.call.upstream = None
            self.call = None

    def _settle(self) -> None:
        """Part from the call; serve the next request if the connection is sound."""
        self._part()
        self._paused_at = None
        if self._keep and self.begun == 1 and self._body_sent:
            self._pool.give_back(self)
        else:
            self._break()

    def eof_received(self) -> None:
        """Take the end of the stream for the end of the body where nothing else ends it."""
        call = self.call
        if call is None:
            self._pool.forget(self)
        elif self._until_close and not self._complete:
            self._complete = True
            self._settle()
            call.on_data(b"", True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the pool; an answer that is not complete has failed, or is asked for again."""
        self._pool.forget(self)
        self._drop_parser()
        call = self.call
        if call is None:
            return
        if call.retry and self.reused and not self.begun and self._pool.clock.now < call.deadline:
            # The upstream closed an idle connection while the request was on its way. Never on another idle one:
            # that may be closed as well.
            self.call = None
            self._pool.open_for(call)
        else:
            self._fail(Fault.RESET, f"the connection was closed: {exc}" if exc else "the connection was closed")

    def pause_writing(self) -> None:
        """Tell who produces the body that the upstream does not read, for which its time runs."""
        if self.call is not None and not self._body_sent:
            self._begin_turn()
            self.call.on_pause_upstream()

    def resume_writing(self) -> None:
        """Tell who produces the body that the upstream reads again."""
        if self.call is not None and not self._body_sent:
            self._set_deadline(inf)
            self.call.on_resume_upstream()

    # The head of an answer.

    def take_head(self) -> None:
        """Note what the head says; called by the parser, so that trailers are not taken for fields."""
        status = self._parser.get_status_code()
        start = self._head_at
        end = self._head.find(HEAD_END, start) + 4
        if status < 200:
            self._interim = True
            self._head_at = end
            self.raw.clear()
            if status < 100 or status == 101:
                raise _Ambiguous(f"a status of {status}, which nobody asked for")
            return
        head = self._head[start:end] if start or end != len(self._head) else self._head
        if len(head) > MAX_HEAD_BYTES:
            raise _Ambiguous(_TOO_LONG)
        fields = {LOWER[name]: value for name, value in self.raw.items()}
        self.raw.clear()
        lines: Iterable[tuple[bytes, bytes]] = fields.items()
        plain = head.count(b"\r\n") - 2 == len(fields) and b" \r\n" not in head and b"\t\r\n" not in head
        if not plain:
            lines = field_lines(head)
            fields = _checked(lines)
        self._head = b""
        self._frame(status, fields, head)
        self._answer = Answer(status, [line for line in lines if line[0] not in _TOLD_APART], {})
        if plain and self._keep and self._length is not None and status not in BODILESS:
            self._pool.known_answers.learn(head, self._answer)

    def _frame(self, status: int, fields: dict[bytes, bytes], head: bytes) -> None:
        minor = 1 if head.startswith(b"HTTP/1.1 ") else 0
        if not minor and not head.startswith(b"HTTP/1.0 "):
            raise _Ambiguous("neither HTTP/1.0 nor HTTP/1.1")
        self._keep = keeps_alive(fields, minor)
        length = fields.get(b"content-length")
        if length is not None:
            self._length = int(length)
        coding = fields.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or not minor):
            raise _Ambiguous("a transfer coding other than chunked")
        if self.call is not None and self.call.head_only:
            self._complete = True
        elif length is None and coding is None and status not in BODILESS:
            self._until_close = True
            self._keep = False

    def message_complete(self) -> None:
        """Note the end of an answer; called by the parser."""
        if self._interim:
            self._interim = False
            self.begun = 0
        else:
            self._complete = True
            self.raw.clear()  # Trailers went there.

    # The end.

    def _fail(self, fault: Fault, text: str) -> None:
        """End this connection and tell the call."""
        call = self.call
        sent = self.transport is not None
        owed = not self._body_sent
        self._part()
        self._break()
        if call is not None:
            call.on_failure(Failure(fault, sent, text, owed))

    def _drop_parser(self) -> None:
        # The parser's callbacks lead back here: every connection would be a cycle for the collector.
        self._spoilt = True
        self._parser = cast("httptools.HttpResponseParser", None)

    def _break(self) -> None:
        self._pool.forget(self)
        self._drop_parser()
        self.deadline = inf
        if self.task is not None:
            self.task.cancel()
        if self.transport is not None:
            self.transport.abort()

    def not_connected(self, text: str) -> None:
        """Tell the call that the connection could not be made."""
        self.task = None
        self._fail(Fault.REFUSED, text)

    def close(self) -> None:
        """End the connection; a request on it fails."""
        self._fail(Fault.CLOSED, "the pool was closed")

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        if self.transport is None:
            self._fail(Fault.TIMEOUT_CONNECT, "no connection in time")
        elif self.call is None:
            self._break()
        elif self._paused_at is not None:
            self._fail(Fault.UNREAD, "the answer was not taken in time")
        else:
            self._fail(Fault.TIMEOUT, "no complete answer in time")


class _Callbacks:
    """What the parser calls: as little Python as possible (see ``framing``)."""

    __slots__ = ("_connection", "on_body", "on_header", "on_headers_complete", "on_message_complete")

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.on_header = connection.raw.setdefault
        self.on_body = connection.pieces.append
        self.on_headers_complete = connection.take_head
        self.on_message_complete = connection.message_complete

    def on_message_begin(self) -> None:
        self._connection.begun += 1


def _checked(lines: AnswerFields) -> dict[bytes, bytes]:
    """Return *lines* as a dict; what frames the answer must not be said twice."""
    fields: dict[bytes, bytes] = {}
    for name, value in lines:
        if name in fields and name in {b"content-length", b"transfer-encoding"}:
            raise _Ambiguous(f"{name.decode()} stands twice")
        fields[name] = fields[name] + b", " + value if name == b"connection" and name in fields else value
    return fields
