"""authenticate: what the caller shows → principal. 400, 401 (RFC 6750), 503."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from entrepot.errors import BadRequest, InvalidToken, StoreUnavailable
from entrepot.identity.admission import recognise
from entrepot.identity.challenges import INVALID_REQUEST, INVALID_TOKEN, NOTHING_SHOWN

if TYPE_CHECKING:
    from entrepot.gateway.authenticators import Authenticator
    from entrepot.gateway.exchange import Exchange

_TOKEN_IN_QUERY = re.compile(rb"(?:^|&)access_token=")
_NOTE = "authenticate"


def authenticate(exchange: Exchange) -> None:
    """Set ``claims`` and ``principal`` of the exchange."""
    shown = exchange.notes.get(_NOTE)
    if shown is None:
        shown = exchange.notes[_NOTE] = _shown(exchange)
    authenticator, credential = shown
    gateway = exchange.gateway
    if gateway.revocations.has_changed() and gateway.hears_revocations:
        gateway.refresh_revocations()
    if not gateway.knows_revocations:
        gateway.metrics.unknown_revocations.labels().inc()
        raise StoreUnavailable("what was revoked is not known now, so nobody is let in", retry_after_s=1.0)
    if exchange.query and b"access_token=" in exchange.query:
        _refuse_token_in(exchange.query)
    try:
        exchange.claims = claims = authenticator.claims(credential, exchange)
        principal = gateway.table.principals[claims.client]
        recognise(claims, principal.client)
    except InvalidToken as error:
        raise InvalidToken(str(error), headers=INVALID_TOKEN) from error
    exchange.principal = principal


def _shown(exchange: Exchange) -> tuple[Authenticator, bytes]:
    for authenticator in exchange.gateway.authenticators:
        credential = authenticator.credential(exchange.fields)
        if credential is not None:
            return authenticator, credential
    raise InvalidToken("the request has no bearer token", headers=NOTHING_SHOWN)


def _refuse_token_in(query: bytes) -> None:
    # In the URL it would stand in the logs of the upstream and of every proxy (RFC 6750, section 2.3; RFC 9700).
    if _TOKEN_IN_QUERY.search(query):
        raise BadRequest("access_token must not stand in the URL", headers=INVALID_REQUEST)
