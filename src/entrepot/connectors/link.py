"""The live side of an upstream: its connections, its places and its breaker.

Everything that goes to an upstream goes through its link: a call takes a place (host-wide ``concurrency``), asks the
breaker, uses a connection of the pool, and tells the breaker how it went.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol
from urllib.parse import urlsplit

from entrepot.chassis.errors import Error
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import Upstream, Withdrawn
from entrepot.connectors.breaker import Breaker
from entrepot.connectors.faults import unsent
from entrepot.connectors.fence import IsVoid, fenced
from entrepot.connectors.pace import Pace
from entrepot.connectors.places import Places
from entrepot.errors import UpstreamBadAnswer, UpstreamBusy, UpstreamMisconfigured, UpstreamTimeout, UpstreamUnavailable
from entrepot.wire.call import Answer, Failure, Fault, Streaming
from entrepot.wire.client import ClientConnection
from entrepot.wire.clock import Clock
from entrepot.wire.limits import Patience
from entrepot.wire.pool import Pool

MAX_ANSWER_BYTES = 64 * 1_048_576
# Odoo says with 500, and with no other status, that its database is away; of other servers 500 may be one bad request.
# Faults that are none of the upstream's: the caller asked for too much or does not read, or we are going.
_BLAMELESS = frozenset({Fault.TOO_LARGE, Fault.UNREAD, Fault.CLOSED})
_UNWELL = {"http": frozenset({502, 503, 504}), "odoo": frozenset({500, 502, 503, 504})}


class Call(Protocol):
    """One call to an upstream, as its link sees it: it waits for a place and is then sent by ``link.pool``."""

    def on_place(self) -> None:
        """A place is free: send the request."""

    def on_no_place(self, error: Error) -> None:
        """No place came free in time."""


class Link:
    """One upstream of the snapshot in force, in this process. Lives on the event loop's thread.

    Its URL may also be a unix socket, ``unix:/path``: this is how the portal is reached, which no catalog names.
    *on_wait* is called when a call has to wait for a place, so that somebody polls. *former* is the link of the same
    upstream in the snapshot before: its places, and who waits for them, are taken over. *pause_s* is how long
    altogether a call may hold its place while its answer is not read.
    """

    __slots__ = (
        "__weakref__", "base_path", "breaker", "clock", "fault", "host", "loop", "on_wait", "pace", "places", "pool",
        "upstream",
    )  # fmt: skip

    def __init__(
        self,
        upstream: Upstream,
        shared: SharedState,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        on_wait: Callable[[], None],
        *,
        former: Link | None = None,
        pause_s: float = 60.0,
    ) -> None:
        url = urlsplit(upstream.url)
        secure = url.scheme == "https"
        context, self.fault = _tls(upstream) if secure else (None, None)
        self.upstream = upstream
        self.clock = clock
        self.loop = loop
        self.on_wait = on_wait
        is_socket = url.scheme == "unix"
        self.host = b"localhost" if is_socket else url.netloc.rpartition("@")[2].encode("ascii")
        self.base_path = "" if is_socket else url.path.rstrip("/")
        self.places = _places(upstream, shared, former)
        self.breaker = Breaker(shared, upstream.name, upstream.breaker, probe_s=upstream.timeout_s + upstream.wait_s)
        self.pace = Pace(shared, upstream.name)
        self.pool = Pool(
            loop,
            host=upstream.url if is_socket else url.hostname or "",
            port=url.port or (443 if secure else 80),
            ssl=context,
            server_hostname=url.hostname if secure else None,
            patience=Patience(upstream.connect_timeout_s, body_s=upstream.timeout_s, pause_s=pause_s),
            clock=clock,
        )

    def enter(self, call: Call) -> None:
        """Start *call* now, or when a place is free.

        Raises UpstreamMisconfigured, UpstreamUnavailable or UpstreamBusy at once.
        """
        if self.fault is not None:
            raise unsent(self.fault)
        now = monotonic()
        if not self.breaker.allows(now):
            raise unsent(
                UpstreamUnavailable(
                    f"{self.upstream.name} is left alone after repeated failures",
                    retry_after_s=self.breaker.open_for_s(now),
                )
            )
        try:
            entered = self.places.enter(call, now)
        except UpstreamBusy:
            self.breaker.released()
            raise
        if entered:
            call.on_place()
        else:
            self.on_wait()

    def _enter_past_breaker(self, call: Call) -> None:
        if self.fault is not None:
            raise unsent(self.fault)
        if self.places.enter(call, monotonic()):
            call.on_place()
        else:
            self.on_wait()

    def abandon(self) -> None:
        """Give the place back of a call that nobody waits for; the upstream is neither blamed nor praised."""
        self.breaker.released()
        self.places.leave()

    def leave(self, *, status: int) -> None:
        """Give the place back; *status* is what the upstream answered."""
        self.places.leave()
        if status in _UNWELL[self.upstream.kind]:
            self.breaker.failed(monotonic())
        else:
            self.breaker.succeeded()

    def fail(self, failure: Failure) -> Error:
        """Give the place back and return the error that partners see; the upstream is blamed for what is its doing."""
        self.places.leave()
        if _is_to_blame(failure):
            self.breaker.failed(monotonic())
        else:
            self.breaker.released()
        return self.translate(failure)

    def translate(self, failure: Failure) -> Error:
        """Return the error that partners see for *failure*; its cause, for the log, says what happened."""
        error = self._translated(failure)
        error.applied = "unknown" if failure.sent else "no"
        error.__cause__ = ConnectionError(failure.text)
        return error

    def _translated(self, failure: Failure) -> Error:
        name = self.upstream.name
        if failure.fault is Fault.TIMEOUT:
            return UpstreamTimeout(f"{name} did not answer within {self.upstream.timeout_s:g} s")
        if failure.fault is Fault.UNREAD:
            return UpstreamTimeout(f"the answer of {name} was not read in time")
        if failure.fault is Fault.TOO_LARGE:
            return UpstreamBadAnswer(f"{name} answered with more than the gateway takes")
        if failure.fault is Fault.GARBAGE:
            return UpstreamBadAnswer(f"{name} answered with something that is no usable HTTP")
        if failure.fault is Fault.RESET:
            return UpstreamUnavailable(f"{name} broke the connection off", retry_after_s=1.0)
        return UpstreamUnavailable(f"{name} cannot be reached", retry_after_s=self.upstream.connect_timeout_s)

    async def post(
        self,
        path: str,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        deadline: float,
        is_void: IsVoid | None = None,
        past_breaker: bool = False,
    ) -> Reply:
        """Send one POST and return the whole answer, whatever its status (the ``Post`` of connectors.base)."""
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        head = b"POST %b%b HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\n%b\r\n" % (
            self.base_path.encode("ascii"), path.encode("ascii"), self.host, len(body), lines
        )  # fmt: skip
        return await self.fetch(head, body, deadline=deadline, is_void=is_void, past_breaker=past_breaker)

    async def probe(self, path: str, *, deadline: float, past_breaker: bool = False) -> None:
        """Return when the upstream answers GET *path*; raise UpstreamUnavailable when it does so with 5xx."""
        head = b"GET %b HTTP/1.1\r\nhost: %b\r\n\r\n" % ((self.base_path + path).encode("ascii"), self.host)
        reply = await self.fetch(head, b"", deadline=deadline, past_breaker=past_breaker)
        if reply.status >= 500:
            raise UpstreamUnavailable(f"{self.upstream.name} answers its probe with {reply.status}")

    async def fetch(
        self,
        head: bytes,
        body: bytes,
        *,
        deadline: float,
        is_void: IsVoid | None = None,
        past_breaker: bool = False,
    ) -> Reply:
        """Send the request of *head* and *body* and return the whole answer, at most ``MAX_ANSWER_BYTES``.

        Raises UpstreamUnavailable, UpstreamTimeout, UpstreamBusy or UpstreamBadAnswer; ``applied`` of the error says
        whether the upstream may have acted on the request. It may not be HEAD. *past_breaker*: it is sent whatever the
        breaker says, which learns of it all the same.
        """
        fetch = Fetch(self, head, body, deadline, fenced(is_void))
        if past_breaker:
            self._enter_past_breaker(fetch)
        else:
            self.enter(fetch)
        try:
            return await fetch.reply
        except asyncio.CancelledError:
            fetch.stop_waiting()
            raise

    def sweep(self, now: float) -> None:
        """Apply the deadlines of connections and waiting calls."""
        self.pool.sweep(now)
        self.places.poll(monotonic())

    @property
    def is_relaying(self) -> bool:
        """Whether a call is in flight or waits for which no task does; it may go on although its caller has gone."""
        return self.places.has_waiters or any(not isinstance(each, Fetch) for each in self.pool.calls())

    def retire(self) -> None:
        """Keep no connections any more. What began with this link goes on with it, and must be swept on."""
        self.pool.retire()

    def close(self) -> None:
        """Close all connections; calls in flight fail."""
        self.pool.close()


def _is_to_blame(failure: Failure) -> bool:
    """Tell whether *failure* is the upstream's doing.

    While the caller owes body, only a connection that cannot be made is, and a time that has run out: it runs then only
    when the upstream does not read.
    """
    if failure.fault in _BLAMELESS:
        return False
    return not failure.owed or not failure.sent or failure.fault is Fault.TIMEOUT


def _places(upstream: Upstream, shared: SharedState, former: Link | None) -> Places:
    limits = {"limit": upstream.concurrency, "waiting": upstream.waiting}
    if former is None:
        return Places(shared, upstream.name, **limits, wait_s=upstream.wait_s)
    former.places.configure(**limits, wait_s=upstream.wait_s)
    return former.places


def _tls(upstream: Upstream) -> tuple[ssl.SSLContext | None, UpstreamMisconfigured | None]:
    """Return the TLS settings, or why there are none: then every call fails with it, and only here."""
    try:
        return tls_context(upstream), None
    except OSError as exc:
        fault = UpstreamMisconfigured(f"the CA of {upstream.name} cannot be read")
        fault.__cause__ = exc
        return None, fault


def tls_context(upstream: Upstream) -> ssl.SSLContext:
    """Return the TLS settings of *upstream*: system or private CA, TLS 1.2 or later, verified unless it says not to."""
    context = ssl.create_default_context(cafile=upstream.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Reply:
    """A whole answer of an upstream, kept in memory."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Fetch:
    """One request whose whole answer, of at most ``MAX_ANSWER_BYTES``, is awaited as ``reply``."""

    __slots__ = (
        "_answer", "_is_void", "_link", "_parts", "data", "deadline", "head_only", "max_body_bytes", "reply", "retry",
        "streaming", "upstream",
    )  # fmt: skip

    def __init__(self, link: Link, head: bytes, body: bytes, deadline: float, is_void: IsVoid | None = None) -> None:
        self._is_void = is_void
        self._link = link
        self.data = head + body
        self.head_only = self.retry = False
        self.deadline = deadline
        self.streaming: Streaming | None = None
        self.max_body_bytes: int | None = MAX_ANSWER_BYTES
        self._answer = Answer(0, [], {})
        self._parts: list[bytes] = []
        self.reply: asyncio.Future[Reply] = link.loop.create_future()
        self.upstream: ClientConnection | None = None

    def on_place(self) -> None:
        """Send the request, unless whoever waited for it has gone meanwhile, or its time has."""
        if self.reply.cancelled():
            self._link.abandon()
            return
        if monotonic() >= self.deadline:
            self._link.abandon()
            name = self._link.upstream.name
            self._settle(unsent(UpstreamTimeout(f"the time for {name} had passed before the request could be sent")))
            return
        if self._is_void is not None and self._is_void():
            self._link.abandon()
            self._settle(unsent(Withdrawn("the request was overtaken while it waited", retry_after_s=1.0)))
            return
        self._link.pool.send(self)

    def on_no_place(self, error: Error) -> None:
        """Give up: no place came free in time."""
        self._link.breaker.released()
        self._settle(error)

    def stop_waiting(self) -> None:
        """Leave the queue for a place: nobody wants the reply any more. What has been sent goes on."""
        if self._link.places.cancel(self):
            self._link.breaker.released()

    def on_answer(self, answer: Answer, body: bytes, complete: bool, length: int | None) -> None:  # noqa: ARG002 - others want it
        """Take the head of the answer and what came with it."""
        self._answer = answer
        self.on_data(body, complete)

    def on_data(self, chunk: bytes, complete: bool) -> None:
        """Keep a piece of the body; the last one makes the reply."""
        self._parts.append(chunk)
        if complete:
            status = self._answer.status
            self._link.leave(status=status)
            if not self.reply.done():
                self.reply.set_result(Reply(status, self._answer.fields, b"".join(self._parts)))

    def on_failure(self, failure: Failure) -> None:
        """Turn what went wrong on the connection into an error."""
        self._settle(self._link.fail(failure))

    def on_pause_upstream(self) -> None:
        """The body is handed over whole: nothing to hold back."""

    def on_resume_upstream(self) -> None:
        """The body is handed over whole: nothing to go on with."""

    def _settle(self, error: Error) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)
