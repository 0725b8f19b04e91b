"""authorize: scope and source network. 403."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from entrepot.errors import InsufficientScope
from entrepot.identity import admission
from entrepot.identity.challenges import challenge

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange


def authorize(exchange: Exchange) -> None:
    """Pass when the token and the client have a scope of the operation, and the source is an allowed network."""
    wanted = exchange.operation.scopes
    if not has_scope(exchange, wanted):
        raise insufficient(wanted)
    if exchange.principal.client.networks:
        check_network(exchange)


def has_scope(exchange: Exchange, wanted: Collection[str]) -> bool:
    """Tell whether both the token and the client have one of the scopes *wanted*."""
    client = exchange.principal.client
    granted = exchange.claims.scopes
    for scope in wanted:  # noqa: SIM110 - each request comes by here, and a generator takes several times as long
        if scope in granted and scope in client.scopes:
            return True
    return False


def check_network(exchange: Exchange) -> None:
    """Pass when the source is a network that the client may call from."""
    admission.check_network(exchange.principal.client, exchange.source)


def insufficient(wanted: Collection[str]) -> InsufficientScope:
    """Return the error of a caller without one of the scopes *wanted*."""
    scope = " ".join(sorted(wanted))
    needed = f"the token needs one of the scopes: {scope}" if wanted else "no scope opens this operation"
    return InsufficientScope(needed, headers=challenge("insufficient_scope", scope))
