"""A request and the means to answer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from entrepot.wire.framing import BODILESS, STATUS_LINES, Fields

if TYPE_CHECKING:
    from entrepot.wire.connection import ServerConnection

_CLOSE = b"Connection: close\r\n"
_KEEP = b"Connection: keep-alive\r\n"
_JOIN_BELOW = 65_536


class BodySink(Protocol):
    """Who takes the body of a request as it comes."""

    def on_body(self, chunk: bytes) -> None:
        """Take the next part of the body."""

    def on_body_end(self) -> None:
        """Note that the body is complete."""


class _Whole:
    """A sink that gathers the body into the request."""

    __slots__ = ("_done", "_max_bytes", "_parts", "_request", "_size")

    def __init__(self, request: Request, max_bytes: int, done: Callable[[], None]) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self._done = done
        self._parts: list[bytes] = []
        self._size = 0

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._max_bytes:
            self._parts.clear()
            self._request.connection.refuse(413, f"the body is longer than {self._max_bytes} bytes")
        else:
            self._parts.append(chunk)

    def on_body_end(self) -> None:
        self._request.body = b"".join(self._parts)
        self._done()


class Request:
    """One request; the server makes one when its head has come, sets the attributes and calls ``on_start``.

    The class can be ``make_request``; a subclass with an ``__init__`` of its own need not call this one. The ``on_``
    methods are called by the connection and must not raise. Once the answer is complete or the peer has gone, the
    methods that answer do nothing.

    *fields*: names in lower case; duplicates of list-valued fields are joined. They are not to be changed: requests
    that sent the same have the same, and share *notes*, what was made of them. *content_length* is None when the body
    is chunked or absent. *body* holds what came in the same read as the head, all of it when *body_complete*. Values
    may hold bytes from 0x80 to 0xff; a target is a path with its query, never empty, without fragment.
    """

    __slots__ = (
        "body", "body_complete", "chunked", "connection", "content_length", "fields", "keep_alive", "method", "minor",
        "notes", "target",
    )  # fmt: skip

    connection: ServerConnection
    method: bytes
    target: bytes
    minor: int
    fields: Fields
    notes: dict[Any, Any]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    body: bytes
    body_complete: bool

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    def on_start(self) -> None:
        """Answer, now or later: the head is there."""
        raise NotImplementedError

    def on_refused(self, status: int, detail: str) -> None:
        """Answer what is no acceptable request with ``send``; the connection closes afterwards.

        Comes instead of ``on_start``, or later when the body turns out wrong, too large (413) or too slow (408).
        """
        self.send(status, b"Content-Type: text/plain\r\n", detail.encode() + b"\n")

    def on_gone(self) -> None:
        """Drop the work: the peer is gone, or the connection broken, before the answer was complete; called once."""

    def on_pause(self) -> None:
        """Stop producing: the peer does not read the answer."""

    def on_resume(self) -> None:
        """Go on producing: the peer reads again."""

    def read_body(self, max_bytes: int, done: Callable[[], None]) -> None:
        """Gather the whole body into ``body``, then call *done*, at once if it is all there.

        A body of more than *max_bytes* leads to ``on_refused(413, …)`` and *done* is not called.
        """
        length = self.content_length
        if length is not None and length > max_bytes:
            self.connection.refuse(413, f"the body is longer than {max_bytes} bytes")
        elif not self.body_complete:
            self.connection.stream(self, _Whole(self, max_bytes, done))
        elif len(self.body) > max_bytes:
            self.connection.refuse(413, f"the body is longer than {max_bytes} bytes")
        else:
            done()

    def stream_body(self, sink: BodySink) -> None:
        """Hand the body to *sink*, beginning with what is there; ``body`` is empty afterwards."""
        self.connection.stream(self, sink)

    def pause_body(self) -> None:
        """Stop reading the body from the peer; time that passes now is not the peer's."""
        if self.connection.request is self:
            self.connection.pause_body()

    def resume_body(self) -> None:
        """Go on reading the body."""
        if self.connection.request is self:
            self.connection.resume_body()

    def send(self, status: int, fields: bytes, body: bytes, *, length: int | None = None) -> None:
        """Answer with *status*, header lines *fields* (each ending in CRLF) and the whole *body*, in one write.

        Date, Connection and Content-Length are added. HEAD, 204 and 304 send no body; *length* is what a HEAD or 304
        announces instead of the length of *body* (a 304 without it announces none).
        """
        connection = self.connection
        if connection.request is not self or connection.answering:
            return
        keep = self.keep_alive and ((self.body_complete and not connection.ending) or connection.may_keep(self))
        persistence = (b"" if self.minor else _KEEP) if keep else _CLOSE
        if status in BODILESS or self.method == b"HEAD":
            size = length if length is not None or status in BODILESS else len(body)
            body = b""
        else:
            size = len(body)
        date = connection.clock.date
        if size is None or status == 204:
            data = b"%b%b\r\n%b%b\r\n" % (STATUS_LINES[status], date, fields, persistence)
        else:
            data = b"%b%b\r\n%bContent-Length: %d\r\n%b\r\n" % (STATUS_LINES[status], date, fields, size, persistence)
        if len(body) < _JOIN_BELOW:
            connection.finish(data + body, keep)
        else:
            connection.finish(data, keep, body)

    def send_head(self, status: int, fields: bytes, length: int | None = None, first: bytes = b"") -> None:
        """Begin an answer whose body follows, its *first* part in the same write.

        With a *length* the body must have it, or the connection is broken; without, it is chunked, or for HTTP/1.0
        ends with the connection. For HEAD, 204 and 304 the body is left out.
        """
        connection = self.connection
        if connection.request is not self or connection.answering:
            return
        bare = status in BODILESS or self.method == b"HEAD"
        framing = b""
        if length is not None and status != 204:
            framing = b"Content-Length: %d\r\n" % length
        elif not bare and self.minor:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif not bare:
            self.keep_alive = False
        keep = connection.begin_answer(self, bare=bare, length=length)
        persistence = (b"" if self.minor else _KEEP) if keep else _CLOSE
        data = b"%b%b\r\n%b%b%b\r\n" % (STATUS_LINES[status], connection.clock.date, fields, framing, persistence)
        connection.send_part(data, first)

    def send_data(self, chunk: bytes) -> None:
        """Send the next part of the body."""
        connection = self.connection
        if connection.request is self and connection.answering and chunk:
            connection.send_part(b"", chunk)

    def send_end(self, last: bytes = b"") -> None:
        """End the body, with its *last* part in the same write."""
        connection = self.connection
        if connection.request is self and connection.answering:
            connection.end_answer(last)

    def abort(self) -> None:
        """Break the connection so that nobody takes what was sent for a complete answer; ``on_gone`` follows."""
        if self.connection.request is self:
            self.connection.abort()
