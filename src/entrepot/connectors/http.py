"""Relay to an HTTP upstream: the request goes through, the answer comes back, bodies stream both ways.

What RFC 9110 (section 7.6.1) calls hop-by-hop stays on its hop; the caller's token never reaches the upstream; the path
is put together from checked parts, so it cannot leave the relay's own.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from math import inf
from time import monotonic
from typing import Protocol, TypeVar
from urllib.parse import quote

from entrepot.chassis.errors import Error
from entrepot.connectors.base import Auth, Json, RelayMapping, Upstream
from entrepot.connectors.faults import OutOfReach
from entrepot.connectors.link import Link
from entrepot.connectors.secrets import read_secret
from entrepot.wire.call import Answer, Failure, Streaming
from entrepot.wire.client import ClientConnection

_TEMPLATE = re.compile(r"\{([^{}]*)\}")
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
# The gateway answers for these itself: framing, its own Date, the operation id, the caller's token, who forwards, and
# the key of a write, which is its partner's at the gateway and the transaction's at the upstream.
NOT_SENT = HOP_BY_HOP | {
    b"host", b"content-length", b"expect", b"authorization", b"x-request-id", b"forwarded", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-http-method-override", b"idempotency-key",
}  # fmt: skip
_NOT_RETURNED = HOP_BY_HOP | {b"x-request-id", b"ratelimit", b"ratelimit-policy"}
_RETURNED = "returned"
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})


class Target(Protocol):
    """Whoever asked for the relay, and takes what comes of it."""

    def on_reply(self, status: int, fields: bytes, body: bytes, complete: bool, length: int | None) -> None:
        """Take the head of the answer as a block of header lines, and the body's beginning."""

    def on_reply_data(self, chunk: bytes, complete: bool) -> None:
        """Take more of the body."""

    def on_reply_error(self, error: Error) -> None:
        """Take the error; the head of an answer may have been handed over before."""

    def on_body_wanted(self) -> None:
        """Begin to give the body by ``RelayCall.upstream``: the head is on its way."""

    def on_reply_pause(self) -> None:
        """Stop giving body: the upstream does not read."""

    def on_reply_resume(self) -> None:
        """Go on giving body."""


class Relay:
    """One relay endpoint at one of its paths, prepared as far as a snapshot allows.

    *variables* names the values of the endpoint's path. Other templates in the relay's path stand for values of the
    caller. *drop* are the fields that do not go on. Raises SettingsError when a secret cannot be read.
    """

    __slots__ = ("_fixed", "_pieces", "_shape", "drop", "link", "variables")

    def __init__(self, mapping: RelayMapping, link: Link, variables: tuple[str, ...]) -> None:
        self.link = link
        self.variables = variables
        self._pieces = pieces(link.base_path + mapping.path, variables)
        self._shape = _shared(_shape(self._pieces, len(variables)))
        added = [*link.upstream.headers, *mapping.add_headers, *credentials(link.upstream)]
        lines = b"".join([f"{name.lower()}: {value}\r\n".encode("latin-1") for name, value in added])
        own = {name.lower().encode("ascii") for name in (*mapping.drop_headers, *(name for name, _ in added))}
        self.drop = _shared(NOT_SENT | own)
        self._fixed = _shared(b"host: " + link.host + b"\r\n" + lines)

    def target(self, values: tuple[bytes, ...], query: bytes, own: Mapping[str, Json]) -> bytes:
        """Return the request target at the upstream.

        *values* are those of the endpoint's path, in order, as the caller sent them: checked, still encoded. *own* are
        the caller's own. Raises UpstreamMisconfigured when the caller lacks one.
        """
        if self._shape is not None:
            target: bytes = self._shape % values
        else:
            parts = [
                part if isinstance(part, bytes) else values[part] if isinstance(part, int) else _own_value(own, part)
                for part in self._pieces
            ]
            target = b"".join(parts) or b"/"
        return target + b"?" + query if query else target

    def sent(self, fields: Mapping[bytes, bytes]) -> bytes:
        """Return those of a request's *fields* that go on to the upstream, as header lines."""
        drop = self.drop
        connection = fields.get(b"connection")
        if connection is not None:
            drop = drop | {name.strip().lower() for name in connection.split(b",")}
        return b"".join([name + b": " + value + b"\r\n" for name, value in fields.items() if name not in drop])

    def head(
        self, method: bytes, target: bytes, sent: bytes, *, own: bytes, length: int | None, chunked: bool
    ) -> bytes:
        """Return the whole head of the request to the upstream.

        *sent* are the caller's header lines (``sent``), *own* those of this exchange (``key_line`` among them).
        """
        if chunked:
            own += b"transfer-encoding: chunked\r\n"
        elif length is not None:
            own += b"content-length: %d\r\n" % length
        return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (method, target, self._fixed, own, sent)


def key_line(transaction_id: str) -> bytes:
    """Return the header line that makes a repeated write of the transaction known to the upstream.

    ``Idempotency-Key`` as draft-ietf-httpapi-idempotency-key-header-07 has it: the id as a quoted string.
    """
    return b'idempotency-key: "%b"\r\n' % transaction_id.encode("ascii")


class RelayCall:
    """One exchange with the upstream of *link* for a relay; a ``wire.call.Call``.

    A *body* of None is streamed as *streaming* says. The upstream's time begins when there is a place and it has the
    whole body.
    """

    __slots__ = (
        "_left", "_link", "_status", "_target", "data", "deadline", "head_only", "max_body_bytes", "retry", "streaming",
        "upstream",
    )  # fmt: skip

    def __init__(
        self,
        link: Link,
        target: Target,
        method: bytes,
        head: bytes,
        body: bytes | None,
        *,
        streaming: Streaming | None = None,
    ) -> None:
        self._link = link
        self._target = target
        self._left = False
        self._status = 0
        self.data = head + body if body else head
        self.head_only = method == b"HEAD"
        self.retry = not body and streaming is None and method in IDEMPOTENT
        self.deadline = inf
        self.streaming = streaming
        self.max_body_bytes: int | None = None
        self.upstream: ClientConnection | None = None

    def on_place(self) -> None:
        """Send the request; a streamed body is asked for then."""
        link = self._link
        if self.streaming is None:
            self.deadline = monotonic() + link.upstream.timeout_s
            link.pool.send(self)
        else:
            link.pool.send(self)
            self._target.on_body_wanted()

    def on_no_place(self, error: Error) -> None:
        """Tell the target that no place came free."""
        self._left = True
        self._link.breaker.released()
        self._target.on_reply_error(error)

    def on_answer(self, answer: Answer, body: bytes, complete: bool, length: int | None) -> None:
        """Hand the head over without what belongs to the hop."""
        self._status = answer.status
        if complete:
            self._leave()
        returned = answer.notes.get(_RETURNED)
        if returned is None:
            returned = answer.notes[_RETURNED] = returned_fields(answer.fields)
        self._target.on_reply(answer.status, returned, body, complete, length)

    def on_data(self, chunk: bytes, complete: bool) -> None:
        """Hand more of the body over."""
        if complete:
            self._leave()
        self._target.on_reply_data(chunk, complete)

    def on_failure(self, failure: Failure) -> None:
        """Tell the target in the words of the error tree."""
        self._left = True
        self._target.on_reply_error(self._link.fail(failure))

    def on_pause_upstream(self) -> None:
        """Hold the caller's body back."""
        self._target.on_reply_pause()

    def on_resume_upstream(self) -> None:
        """Let the caller's body go on."""
        self._target.on_reply_resume()

    def cancel(self) -> None:
        """Break the call off: nobody waits for its answer. The upstream is not blamed."""
        if self._left:
            return
        self._left = True
        link = self._link
        if link.places.cancel(self):
            link.breaker.released()
            return
        if self.upstream is not None:
            self.upstream.cancel()
        link.abandon()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._link.leave(status=self._status)


_Value = TypeVar("_Value")


@lru_cache(maxsize=4096)
def _shared(value: _Value) -> _Value:
    """Return one object for all equal ones: of thousands of relays most have the same, and it stays in the cache."""
    return value


def _shape(parts: tuple[bytes | int | str, ...], count: int) -> bytes | None:
    """Return a format that takes the path values as they stand; None when the relay's path is not so plain."""
    if not parts or [part for part in parts if not isinstance(part, bytes)] != list(range(count)):
        return None
    return b"".join(part.replace(b"%", b"%%") if isinstance(part, bytes) else b"%b" for part in parts)


def pieces(path: str, variables: tuple[str, ...]) -> tuple[bytes | int | str, ...]:
    """Return *path* cut at its templates.

    A literal is bytes; ``{name}`` is the index of the name in *variables*, or the name when it is none of them.
    """
    return tuple(_piece(piece, index % 2 == 1, variables) for index, piece in enumerate(_TEMPLATE.split(path)) if piece)


def _piece(text: str, is_template: bool, variables: tuple[str, ...]) -> bytes | int | str:
    if not is_template:
        return text.encode("ascii")
    name = text.removesuffix("...")
    return variables.index(name) if name in variables else name


def own_names(path: str, variables: tuple[str, ...]) -> tuple[str, ...]:
    """Return the templates of *path* that stand for values of the caller."""
    return tuple(piece for piece in pieces(path, variables) if isinstance(piece, str))


def _own_value(own: Mapping[str, Json], name: str) -> bytes:
    if name not in own:
        raise OutOfReach("the partner lacks a value that the relay's path needs")
    return quote(str(own[name]), safe="").encode("ascii")


def returned_fields(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return the header lines of an upstream's answer that are the caller's to see."""
    kept = []
    for field in fields:
        name, value = field
        if name not in _NOT_RETURNED:
            kept.append(b"%b: %b\r\n" % field)
        elif name == b"connection" and value.lower() not in {b"keep-alive", b"close"}:
            hop = {token.strip().lower() for token in value.split(b",")}
            return returned_fields([field for field in fields if field[0] not in hop and field[0] != b"connection"])
    return b"".join(kept)


def credentials(upstream: Upstream) -> list[tuple[str, str]]:
    """Return the header field that shows the gateway's own credential, none when the upstream has no ``auth``."""
    auth = upstream.auth
    if auth is None:
        return []
    return [_credential(auth, read_secret(auth.secret))]


def _credential(auth: Auth, secret: str) -> tuple[str, str]:
    if auth.kind == "bearer":
        return "authorization", f"Bearer {secret}"
    if auth.kind == "basic":
        pair = b64encode(f"{auth.user}:{secret}".encode()).decode("ascii")
        return "authorization", f"Basic {pair}"
    return auth.name, secret
