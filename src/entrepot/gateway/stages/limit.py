"""limit: the rate and the daily quota of the client and the rate of the endpoint, over all workers of the host. 429.

``RateLimit`` and ``RateLimit-Policy`` follow draft-ietf-httpapi-ratelimit-headers-11. The policies ``burst`` and
``day`` are the client's, ``endpoint`` is that of all callers together. A request that one of them refuses uses up
nothing of those that come after it; the day comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.errors import TooManyRequests

if TYPE_CHECKING:
    from entrepot.chassis.limits import Bucket
    from entrepot.gateway.exchange import Exchange

_LINES = b"ratelimit-policy: %b\r\nratelimit: %b\r\n"


def limit(exchange: Exchange) -> None:
    """Take one request from each limit that applies."""
    principal, endpoint = exchange.principal, exchange.operation.bucket
    if endpoint is not None or principal.day is not None:
        _limit_all(exchange, endpoint)
    elif principal.bucket is not None:
        left = principal.bucket.take(exchange.started)
        exchange.limit_fields = principal.bucket.lines(left)
        if left < 0:
            raise _refusal(exchange, "rate", left)


def limit_client(exchange: Exchange) -> None:
    """Take one request from each limit of the client."""
    _limit_all(exchange, None)


def _limit_all(exchange: Exchange, endpoint: Bucket | None) -> None:
    """Take from each limit until one refuses; the fields tell of all of them, also of those not asked any more."""
    burst, day = exchange.principal.bucket, exchange.principal.day
    now, wall = exchange.started, exchange.gateway.clock.wall
    refusal = None
    policies, fields = [], []
    for bucket, what in ((burst, "rate"), (endpoint, "endpoint")):
        if bucket is not None:
            left = bucket.take(now) if refusal is None else bucket.left(now)
            policies.append(bucket.policy)
            fields.append(bucket.field(left))
            if left < 0:
                refusal = _refusal(exchange, what, left)
    if day is not None:
        left = day.take(wall) if refusal is None else day.left(wall)
        policies.append(day.policy)
        fields.append(day.field(left, wall))
        if left < 0:
            refusal = _refusal(exchange, "quota", left)
    if policies:
        exchange.limit_fields = _LINES % (b", ".join(policies), b", ".join(fields))
    if refusal is not None:
        raise refusal


def _refusal(exchange: Exchange, what: str, left: float) -> TooManyRequests:
    name = exchange.principal.client.name
    message = {
        "rate": f"the rate of the client {name} is used up",
        "endpoint": "the rate of the endpoint is used up",
        "quota": f"the client {name} has used up its quota of the day",
    }[what]
    return TooManyRequests(message, retry_after_s=-left)
