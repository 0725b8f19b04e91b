"""authorize: scope and source network. 403."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.errors import Forbidden, InsufficientScope
from entrepot.gateway.sources import lies_in

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange


def authorize(exchange: Exchange) -> None:
    """Pass when the token and the client have a scope of the operation, and the source is an allowed network."""
    wanted = exchange.operation.scopes
    client = exchange.principal.client
    granted = exchange.claims.scopes
    for scope in wanted:
        if scope in granted and scope in client.scopes:
            break
    else:
        raise _insufficient(wanted)
    if client.networks:
        check_network(exchange)


def check_network(exchange: Exchange) -> None:
    """Pass when the source is a network that the client may call from."""
    client = exchange.principal.client
    if client.networks and not lies_in(client.networks, exchange.source):
        raise Forbidden(f"the client {client.name} may not call from this network")


def _insufficient(wanted: frozenset[str]) -> InsufficientScope:
    scope = " ".join(sorted(wanted))
    challenge = f'Bearer realm="entrepot", error="insufficient_scope", scope="{scope}"'
    needed = f"the token needs one of the scopes: {scope}" if wanted else "no scope opens this operation"
    return InsufficientScope(needed, headers=[("www-authenticate", challenge)])
