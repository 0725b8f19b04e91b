"""A relay endpoint's exchange: the request goes to the upstream as it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from string import punctuation
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from entrepot.connectors.base import Caller, Json, RelayMapping
from entrepot.connectors.faults import unsent
from entrepot.connectors.http import NOT_SENT, Relay, RelayCall, key_line, returned_fields
from entrepot.connectors.link import Link
from entrepot.errors import BodyTooLarge, SettingsError, UpstreamMisconfigured
from entrepot.gateway.answers import Answer
from entrepot.gateway.kept import common
from entrepot.gateway.paths import check_relayed

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange


MAX_NOTES = 64
"""More peers than this that send the same fields are not noted."""
# What was asked of the gateway has been answered by it when the write goes on.
_VISIBLE = punctuation
_NOT_KEPT = NOT_SENT | {b"prefer"}


class RelayWork:
    """The operations of a relay endpoint at one of its paths.

    The relay is made when it is first wanted, and tried again while its credential cannot be read: one lost file must
    not take the other endpoints along.
    """

    __slots__ = ("_link", "_mapping", "_relay", "_variables")

    def __init__(self, mapping: RelayMapping, link: Link, variables: tuple[str, ...]) -> None:
        self._mapping = mapping
        self._link = link
        self._variables = variables
        self._relay: Relay | None = None

    def start(self, exchange: Exchange) -> None:
        """Send *exchange* to the upstream."""
        start(self._relay or self._made(), exchange)

    async def whole(self, exchange: Exchange, caller: Caller) -> Answer:
        """Send *exchange*, whose body is there, as the transaction of *caller*, and return the whole answer."""
        relay = self._relay or self._made()
        length = len(exchange.body) if exchange.chunked or exchange.content_length else exchange.content_length
        head = relay.head(
            exchange.method,
            relay.target(exchange.raw_values, exchange.query, caller.values),
            sent_fields(relay, exchange),
            own=own_fields(exchange) + key_line(caller.transaction_id),
            length=length,
            chunked=False,
        )
        reply = await relay.link.fetch(head, exchange.body, deadline=caller.deadline)
        return Answer(reply.status, returned_fields(list(reply.headers)), reply.body)

    def _made(self) -> Relay:
        try:
            self._relay = Relay(self._mapping, self._link, self._variables)
        except SettingsError as exc:
            name = self._link.upstream.name
            raise unsent(UpstreamMisconfigured(f"the credential of {name} cannot be read")) from exc
        return self._relay


def start(relay: Relay, exchange: Exchange) -> None:
    """Send the exchange to the upstream of *relay*; a body that has not all come yet is streamed."""
    complete = exchange.body_complete
    length = exchange.content_length
    if complete and (exchange.chunked or length):
        length = len(exchange.body)
    if b"%" in exchange.path:
        check_relayed(exchange.raw_values)
    target = relay.target(exchange.raw_values, exchange.query, exchange.principal.values)
    head = relay.head(
        exchange.method,
        target,
        sent_fields(relay, exchange),
        own=own_fields(exchange),
        length=length,
        chunked=exchange.chunked and not complete,
    )
    call = RelayCall(
        relay.link, exchange, exchange.method, head, exchange.body if complete else None,
        streaming=None if complete else "chunked" if exchange.chunked else "length",
    )  # fmt: skip
    exchange.relay_call = call
    relay.link.enter(call)


def check(exchange: Exchange) -> None:
    """Raise BadRequest when a value of the path hides a separator."""
    if b"%" in exchange.path:
        check_relayed(exchange.raw_values)


def facts(exchange: Exchange) -> dict[str, Json]:
    """Return what a courier needs of a write, beside its body: path values and query, encoded, and header lines."""
    values = zip(exchange.operation.variables, map(_ascii, exchange.raw_values), strict=True)
    return {"variables": dict(values), "query": _ascii(exchange.query), "fields": kept_fields(exchange.fields)}


def _ascii(raw: bytes) -> str:
    """Return *raw*, a part of a target, with what is no ASCII in it encoded as well."""
    return raw.decode("ascii") if raw.isascii() else quote_from_bytes(raw, safe=_VISIBLE)


def kept_fields(fields: Mapping[bytes, bytes]) -> str:
    """Return the caller's header lines that are to reach the upstream later, as text in Latin-1."""
    named = {name.strip().lower() for name in fields.get(b"connection", b"").split(b",")}
    return b"".join(
        [b"%b: %b\r\n" % item for item in fields.items() if item[0] not in _NOT_KEPT and item[0] not in named]
    ).decode("latin-1")


def sent_fields(relay: Relay, exchange: Exchange) -> bytes:
    """Return the header lines of the caller that go on to the upstream."""
    if exchange.cache_key:
        return relay.sent(common(exchange.fields, exchange.operation.negotiated))
    sent: bytes | None = exchange.notes.get(relay.drop)
    if sent is None:
        sent = exchange.notes[relay.drop] = relay.sent(exchange.fields)
    return sent


def own_fields(exchange: Exchange) -> bytes:
    """Return the header lines that tell the upstream of the operation and who asked (RFC 7239 and before it)."""
    if exchange.cache_key:
        # The answer is for others too: who asked, and by what name, must not be part of it.
        return b"x-request-id: %b\r\n" % exchange.operation_id
    # What is said of the caller follows from the peer and the fields, and the notes belong to the fields.
    peer, notes = exchange.connection.peer, exchange.notes
    forwarded = notes.get(peer)
    if forwarded is None:
        forwarded = _forwarded(exchange.source, *exchange.gateway.sources.host_and_scheme(exchange))
        if len(notes) < MAX_NOTES:
            notes[peer] = forwarded
    return b"x-request-id: %b\r\n%b" % (exchange.operation_id, forwarded)


def _forwarded(address: str, host: bytes, proto: bytes) -> bytes:
    source = address.encode("ascii") or b"unknown"
    node = b'"[%b]"' % source if b":" in source else source
    return (
        b'forwarded: for=%b;host="%b";proto=%b\r\n'
        b"x-forwarded-for: %b\r\nx-forwarded-host: %b\r\nx-forwarded-proto: %b\r\n"
    ) % (node, host, proto, source, host, proto)


class BodyStream:
    """The body of a request on its way to the upstream, counted against the endpoint's ``max_body``."""

    __slots__ = ("_call", "_exchange", "_left")

    def __init__(self, exchange: Exchange, call: RelayCall) -> None:
        self._exchange = exchange
        self._call = call
        self._left = exchange.operation.endpoint.max_body_bytes

    def on_body(self, chunk: bytes) -> None:
        """Send a piece on."""
        self._left -= len(chunk)
        if self._left < 0:
            self._call.cancel()
            maximum = self._exchange.operation.endpoint.max_body_bytes
            self._exchange.fail(BodyTooLarge(f"the body is larger than {maximum} bytes"))
        elif self._call.upstream is not None:
            self._call.upstream.write_body(chunk)

    def on_body_end(self) -> None:
        """End the body at the upstream."""
        if self._call.upstream is not None:
            self._call.upstream.end_body()
