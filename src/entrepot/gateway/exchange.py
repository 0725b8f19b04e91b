"""One request of a partner and its answer, from the first byte to the log line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from entrepot.chassis.envelope import envelope_bytes
from entrepot.chassis.errors import Error
from entrepot.chassis.operation import is_operation_id
from entrepot.connectors.http import RelayCall
from entrepot.errors import (
    BadRequest,
    BodyTooLarge,
    HeadersTooLarge,
    HttpVersionNotSupported,
    InputError,
    NotImplementedHere,
    RequestTimeout,
    TargetTooLong,
    UpstreamUnavailable,
)  # fmt: skip
from entrepot.gateway import pipeline
from entrepot.gateway.answers import Answer, problem_answer
from entrepot.gateway.kept import OUTAGES, Kept
from entrepot.gateway.operations import LATER
from entrepot.gateway.relay import BodyStream
from entrepot.gateway.stages.cache import end_kept, stale_answer, store
from entrepot.identity.tokens import Claims
from entrepot.wire.server import Request, ServerConnection

if TYPE_CHECKING:
    from asyncio import Task

    from entrepot.gateway.gateway import Gateway
    from entrepot.gateway.operations import Operation, Principal
    from entrepot.gateway.writes import Write

log = logging.getLogger(__name__)

CLIENT_GONE = 499
_REFUSALS: dict[int, type[InputError]] = {
    408: RequestTimeout,
    413: BodyTooLarge,
    414: TargetTooLong,
    431: HeadersTooLarge,
    501: NotImplementedHere,
    505: HttpVersionNotSupported,
}


class Exchange(Request):
    """A request with what the stages found out about it. One is made for each request.

    *raw_values* are the path values as sent, still percent-encoded. *document* is the parsed JSON body. *source* is
    the address of the caller, a trusted proxy's word believed. *operation*, *claims* and *principal* are None until
    their stage has set them. *write* is what the ledger has to do with it, None when that is nothing.
    """

    __slots__ = (
        "_finished", "_kept", "cache_key", "claims", "dispatched", "document", "gateway", "generation", "limit_fields",
        "operation", "operation_id", "path", "principal", "query", "raw_values", "relay_call", "source", "started",
        "status", "task", "write",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, _connection: ServerConnection) -> None:
        self.gateway = gateway
        self.operation: Operation = LATER
        self.operation_id = b""
        self.principal: Principal = LATER
        self.claims: Claims = LATER
        self.path = b""
        self.query = b""
        self.raw_values: tuple[bytes, ...] = ()
        self.document: Any = None
        self.limit_fields = b""
        self.cache_key = b""
        self.generation = 0
        self.relay_call: RelayCall | None = None
        self.task: Task[None] | None = None
        self.write: Write | None = None
        self.status = 0
        self.dispatched = False
        self._finished = False
        self._kept: Kept | None = None

    @property
    def matched(self) -> bool:
        """Whether the path led to an operation."""
        return self.operation is not LATER

    @property
    def known(self) -> bool:
        """Whether the caller is known."""
        return self.principal is not LATER

    # -- events of the connection

    def on_start(self) -> None:
        """Take a request whose head is there through the stages."""
        self._begin()
        self._run(pipeline.PIPELINE)

    def resume_with_body(self) -> None:
        """Go on with a request whose body has been read whole, if its caller may come in still."""
        self._run(pipeline.AFTER_BODY)

    def enter_transactions(self) -> None:
        """Go on with a request for ``/transactions``, which is no endpoint."""
        self._run(pipeline.TRANSACTIONS)

    def proceed(self, step: Callable[..., None], *given: Any) -> None:
        """Take a later *step* of the exchange; an error that it raises is the answer."""
        try:
            step(*given)
        except Error as error:
            self.fail(error)
        except Exception as exc:  # noqa: BLE001 - the edge of a request
            self.crash(exc)

    def on_refused(self, status: int, detail: str) -> None:
        """Answer bytes that are no request; the connection closes after."""
        if not self.operation_id:
            self._begin()
        self.drop_call()
        self.fail(_REFUSALS.get(status, BadRequest)(detail))

    def on_gone(self) -> None:
        """The caller has hung up: a read is broken off, a write that has begun goes on."""
        if self.method in {b"GET", b"HEAD"} or self.status:
            self.drop_call()
        elif self.relay_call is not None and not self.body_complete:
            self.relay_call.cancel()
        self._finish(self.status or CLIENT_GONE)

    def on_pause(self) -> None:
        """The caller does not read: hold the upstream back."""
        if self.relay_call is not None and self.relay_call.upstream is not None:
            self.relay_call.upstream.pause()

    def on_resume(self) -> None:
        """The caller reads again."""
        if self.relay_call is not None and self.relay_call.upstream is not None:
            self.relay_call.upstream.resume()

    # -- answers

    def answer(self, answer: Answer) -> None:
        """Send *answer* whole; when another has begun, break that off, so that nobody takes it for whole."""
        if self._finished:
            return
        if self.status:
            self._finish(self.status)
            self.abort()
            return
        body = answer.body
        if answer.data is not None:
            body = envelope_bytes(self.operation_id, answer.data, answer.meta)
        self.status = answer.status
        fields = b"%bx-request-id: %b\r\n%b" % (answer.fields, self.operation_id, self.limit_fields)
        self._finish(answer.status)
        self.send(answer.status, fields, body)

    def complete(self, answer: Answer) -> None:
        """Send the answer of an endpoint, and keep it when the endpoint has a cache."""
        end_kept(self)
        self.answer(store(self, answer))

    def fail(self, error: Error) -> None:
        """Answer with the problem of *error*, or with a kept answer when the upstream is at fault and one is there."""
        if self.dispatched:
            end_kept(self)
        stale = stale_answer(self, error)
        if stale is None:
            if error.status >= 500 and not isinstance(error, InputError):
                self.gateway.note_fault(self, error)
            stale = problem_answer(error, self.operation_id.decode("ascii"))
        self.answer(stale)

    def crash(self, exc: BaseException) -> None:
        """Answer a mistake of the gateway's own: the traceback goes to the log, the caller gets the operation id."""
        log.error("the gateway made a mistake", exc_info=exc, extra={"operation_id": self.operation_id.decode("ascii")})
        self.fail(Error("the gateway made a mistake; the operation id leads to it"))

    # -- a relay's events (connectors.http.Target)

    def on_reply(self, status: int, fields: bytes, body: bytes, complete: bool, length: int | None) -> None:
        """Pass the upstream's answer on, whole or as a stream."""
        try:
            if self.operation.ends:
                end_kept(self)
            if self._finished:
                return
            if self.cache_key and self._takes_part_in_cache(status, fields, length):
                if self._kept is not None:
                    self._keep(self._kept, body, complete)
                return
            self.status = status
            fields = b"%bx-request-id: %b\r\n%b" % (fields, self.operation_id, self.limit_fields)
            if complete:
                self._finish(status)
                self.send(status, fields, body, length=length if self.method == b"HEAD" else None)
            else:
                self.send_head(status, fields, length, body)
        except Exception as exc:  # noqa: BLE001 - the edge of a request, on its way back
            self.crash(exc)

    def on_reply_data(self, chunk: bytes, complete: bool) -> None:
        """Pass more of the upstream's answer on."""
        if self._finished:
            return
        if self._kept is not None:
            self._keep(self._kept, chunk, complete)
            return
        if chunk:
            self.send_data(chunk)
        if complete:
            self._finish(self.status)
            self.send_end()

    def on_reply_error(self, error: Error) -> None:
        """Answer with the error; an answer that has begun is broken off, so that nobody takes it for whole."""
        if not self._finished:
            self.fail(error)

    def on_body_wanted(self) -> None:
        """Stream the caller's body to the upstream."""
        if self.relay_call is not None:
            self.stream_body(BodyStream(self, self.relay_call))

    def on_reply_pause(self) -> None:
        """The upstream does not read: hold the caller back."""
        self.pause_body()

    def on_reply_resume(self) -> None:
        """The upstream reads again."""
        self.resume_body()

    def _takes_part_in_cache(self, status: int, fields: bytes, length: int | None) -> bool:
        """Tell whether the answer is gathered for the cache, or has been replaced by one from it."""
        if status in OUTAGES:
            stale = stale_answer(self, UpstreamUnavailable(f"the upstream answered {status}"))
            if stale is not None:
                self.drop_call()
                self.answer(stale)
            return stale is not None
        if self.method == b"GET" and Kept.may_be(status, fields, length, self.operation.negotiated):
            self._kept = Kept(status, fields, length)
        return self._kept is not None

    def _keep(self, kept: Kept, chunk: bytes, complete: bool) -> None:
        if not kept.add(chunk):
            self._kept = None
            self.status = kept.status
            fields = b"%bx-request-id: %b\r\n%b" % (kept.fields, self.operation_id, self.limit_fields)
            self.send_head(kept.status, fields, kept.length, kept.body)
            self.on_reply_data(b"", complete)
        elif complete:
            self._kept = None
            self.complete(kept.answer())

    def drop_call(self) -> None:
        """Break the call to the upstream off: nobody waits for what it brings."""
        if self.relay_call is not None:
            self.relay_call.cancel()
        if self.task is not None:
            self.task.cancel()

    # -- inside

    def _begin(self) -> None:
        self.started = monotonic()
        gateway = self.gateway
        self.source = gateway.sources.source(self)
        self.operation_id = gateway.operation_ids.new()
        given = self.fields.get(b"x-request-id")
        if given is not None and gateway.sources.trusts(self) and is_operation_id(given):
            self.operation_id = given.lower()

    def _run(self, stages: tuple[pipeline.Stage, ...]) -> None:
        """Take the exchange through *stages* until one has answered it, or will."""
        try:
            for stage in stages:
                if stage(self):
                    return
        except Error as error:
            self.fail(error)
        except Exception as exc:  # noqa: BLE001 - the edge of a request
            self.crash(exc)

    def _finish(self, status: int) -> None:
        if not self._finished:
            self._finished = True
            self.gateway.note(self, status, monotonic() - self.started)
            # Exchange and call know each other; left so, only the garbage collector would free them.
            self.relay_call = self.task = self.write = None
