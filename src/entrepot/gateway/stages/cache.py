"""cache: fresh or not modified. 200 304. Afterwards: keep the answer, or serve a kept one when the upstream fails.

RFC 9111 and 5861 by the operator's policy: the endpoint's ``cache`` says how long an answer is fresh and how much
longer it may stand in for a failing upstream. ``Age`` and ``Cache-Status`` (RFC 9211) tell the caller. The clock here
is the system's, not the coarse one: an answer may be fresh for less than the coarse one's tick.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from entrepot.chassis.errors import Error
from entrepot.chassis.etag import strong_etag
from entrepot.errors import UpstreamBadAnswer, UpstreamBusy, UpstreamTimeout, UpstreamUnavailable
from entrepot.gateway.answers import Answer
from entrepot.gateway.cache import Entry

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

_OUTAGE = (UpstreamUnavailable, UpstreamBusy, UpstreamTimeout, UpstreamBadAnswer)
_PRIVATE = b"cache-control: private, no-cache\r\nvary: Authorization\r\n"


def cache(exchange: Exchange) -> bool | None:
    """Answer from the cache when it holds a fresh answer."""
    operation = exchange.operation
    if operation.cache is None or exchange.method not in {b"GET", b"HEAD"} or has_body(exchange):
        return None
    exchange.cache_key = key(exchange)
    answers, now = exchange.gateway.answers, time()
    exchange.generation = answers.generation(operation.endpoint.name)
    entry = answers.get(exchange.cache_key, operation.endpoint.name, now)
    outcome = "miss" if entry is None or entry.fresh_until <= now else "hit"
    exchange.gateway.metrics.cache_answers.labels(operation.endpoint.name, outcome).inc()
    if entry is None or outcome == "miss":
        return None
    exchange.answer(kept_answer(exchange, entry, b"hit"))
    return True


def has_body(exchange: Exchange) -> bool:
    """Tell whether the request has a body: it could change the answer and is no part of the key."""
    return exchange.chunked or bool(exchange.content_length)


def key(exchange: Exchange) -> bytes:
    """Return what tells one answer of an endpoint from another: the caller's values, path, query, language."""
    operation = exchange.operation
    values = exchange.principal.values
    parts = [operation.endpoint.name, *(repr(values.get(name)) for name in operation.own_names)]
    fields = exchange.fields
    negotiated = [fields.get(name, b"") for name in operation.negotiated]
    return b"\0".join([*(part.encode() for part in parts), *negotiated, exchange.path, exchange.query])


def end_kept(exchange: Exchange) -> None:
    """End what is kept of the records that a write may have changed, whatever came of it."""
    for endpoint in exchange.operation.ends:
        exchange.gateway.answers.end(endpoint)


def store(exchange: Exchange, answer: Answer) -> Answer:
    """Return *answer* with its validators; keep it when the endpoint has a cache."""
    operation = exchange.operation
    if exchange.method not in {b"GET", b"HEAD"} or answer.status != 200:
        if answer.data is not None and operation.kind in {"create", "update"}:
            # The record as read, so that the next change can be conditional without another read.
            answer.fields += b"etag: %b\r\n" % strong_etag(answer.data).encode("ascii")
        return answer
    if answer.data is not None:
        answer.etag = strong_etag(answer.data + answer.meta).encode("ascii")
    policy = operation.cache
    if policy is not None and exchange.cache_key:
        wall = time()
        entry = Entry(
            status=answer.status, fields=answer.fields, data=answer.body if answer.data is None else answer.data,
            meta=answer.meta, etag=answer.etag, stored_at=wall, fresh_until=wall + policy.fresh_s,
            stale_until=wall + policy.fresh_s + policy.stale_if_error_s,
        )  # fmt: skip
        exchange.gateway.answers.put(exchange.cache_key, operation.endpoint.name, exchange.generation, entry)
        answer.fields += b"cache-status: entrepot; fwd=miss; stored\r\n"
    return conditional(exchange, answer)


def conditional(exchange: Exchange, answer: Answer) -> Answer:
    """Return *answer* with ``ETag``, or 304 when the caller has it already (RFC 9110, section 13.1.2)."""
    if not answer.etag:
        return answer
    answer.fields += b"etag: %b\r\n%b" % (answer.etag, _PRIVATE)
    if matches(exchange.fields.get(b"if-none-match"), answer.etag):
        return Answer(304, answer.fields)
    return answer


def matches(header: bytes | None, etag: bytes) -> bool:
    """Tell whether ``If-None-Match`` names *etag*, by the weak comparison of RFC 9110, section 8.8.3.2."""
    if header is None:
        return False
    if header.strip() == b"*":
        return True
    return any(candidate.strip().removeprefix(b"W/") == etag for candidate in header.split(b","))


def stale_answer(exchange: Exchange, error: Error) -> Answer | None:
    """Return the kept answer that may stand in for an upstream that failed with *error*, marked as stale, or None."""
    if not exchange.cache_key or not isinstance(error, _OUTAGE):
        return None
    gateway = exchange.gateway
    entry = gateway.answers.get(exchange.cache_key, exchange.operation.endpoint.name, time())
    if entry is None or entry.stale_until <= time():
        return None
    gateway.metrics.cache_answers.labels(exchange.operation.endpoint.name, "stale").inc()
    return kept_answer(exchange, entry, b"fwd=stale; detail=" + error.code.encode("ascii"))


def kept_answer(exchange: Exchange, entry: Entry, how: bytes) -> Answer:
    """Return *entry* as an answer with its age and *how* it came from the cache."""
    wall = time()
    status = b"age: %d\r\ncache-status: entrepot; %b; ttl=%d\r\n" % (
        wall - entry.stored_at,
        how,
        entry.fresh_until - wall,
    )
    answer = Answer(entry.status, entry.fields + status, meta=entry.meta, etag=entry.etag)
    if exchange.operation.kind == "relay":
        answer.body = entry.data
    else:
        answer.data = entry.data
    return conditional(exchange, answer)
