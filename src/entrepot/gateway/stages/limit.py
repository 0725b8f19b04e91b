"""limit: the rates of the client and of the endpoint, over all workers of the host. 429.

``RateLimit`` and ``RateLimit-Policy`` follow draft-ietf-httpapi-ratelimit-headers-11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.errors import TooManyRequests

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

_LINES = b"ratelimit-policy: %b\r\nratelimit: %b\r\n"


def limit(exchange: Exchange) -> None:
    """Take one request from each rate that applies, the client's first."""
    client = exchange.principal.bucket
    endpoint = exchange.operation.bucket
    now = exchange.started
    if client is not None:
        left = client.take(now)
        exchange.limit_fields = client.lines(left)
        if left < 0:
            raise _used_up(exchange, left)
    if endpoint is not None:
        left_here = endpoint.take(now)
        policy, field = endpoint.policy, endpoint.field(left_here)
        if client is not None:
            policy, field = b"%b, %b" % (client.policy, policy), b"%b, %b" % (client.field(left), field)
        exchange.limit_fields = _LINES % (policy, field)
        if left_here < 0:
            raise TooManyRequests("the rate of the endpoint is used up", retry_after_s=-left_here)


def limit_client(exchange: Exchange) -> None:
    """Take one request from the client's rate."""
    client = exchange.principal.bucket
    if client is not None:
        left = client.take(exchange.started)
        exchange.limit_fields = client.lines(left)
        if left < 0:
            raise _used_up(exchange, left)


def _used_up(exchange: Exchange, left: float) -> TooManyRequests:
    return TooManyRequests(f"the rate of the client {exchange.principal.client.name} is used up", retry_after_s=-left)
