"""authenticate: bearer token → principal. 401 (RFC 6750)."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from entrepot.errors import InvalidToken
from entrepot.identity.tokens import Claims

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

_CHALLENGE = (("www-authenticate", 'Bearer realm="entrepot", error="invalid_token"'),)
_NOTE = "authenticate"


def authenticate(exchange: Exchange) -> None:
    """Set ``claims`` and ``principal`` of the exchange. A token seen before costs a look-up, not a signature."""
    gateway = exchange.gateway
    token = exchange.notes.get(_NOTE)
    if token is None:
        token = exchange.notes[_NOTE] = _bearer(exchange)
    claims = gateway.verifier.remembered.get(token)
    if claims is None or claims.expires_at <= gateway.clock.wall:
        claims = _verified(exchange, token)
    principal = gateway.table.principals.get(claims.client)
    if principal is None or principal.client.partner != claims.partner:
        raise InvalidToken("the client of the token is not known", headers=_CHALLENGE)
    exchange.claims = claims
    exchange.principal = principal


def _bearer(exchange: Exchange) -> bytes:
    header = exchange.fields.get(b"authorization")
    if header is None or header[:7].lower() != b"bearer ":
        raise InvalidToken("the request has no bearer token", headers=_CHALLENGE)
    return header[7:].strip()


def _verified(exchange: Exchange, token: bytes) -> Claims:
    gateway = exchange.gateway
    try:
        # The coarse clock may be a quarter of a second late: a fresh token would not be valid yet.
        return gateway.verifier.claims(token, time(), exchange.source)
    except InvalidToken as error:
        raise InvalidToken(str(error), headers=_CHALLENGE) from error
