"""Bearer tokens in the Flask face: read by Flask-JWT-Extended, judged by ``entrepot.identity`` as on the data plane.

The library asks for the key of a token by its loader. It gets one only of a token that identity lets pass, so nothing
is good here that is not good there; our errors go through the library as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import Flask, g, request
from flask_jwt_extended import JWTManager, current_user, jwt_required

from entrepot.errors import BadRequest, InvalidToken
from entrepot.identity import jws
from entrepot.identity.admission import check_network
from entrepot.identity.challenges import INVALID_REQUEST, INVALID_TOKEN, NOTHING_SHOWN
from entrepot.portal.portal import Caller, portal

_BEARER = re.compile(r"Bearer +(.*)", re.IGNORECASE)


def install(app: Flask, issuer: str, leeway_s: float) -> None:
    """Let ``token_required`` guard the pages of *app*, for tokens of *issuer*; clocks may be *leeway_s* apart."""
    app.config.update(
        JWT_ALGORITHM=jws.ALGORITHM, JWT_DECODE_ALGORITHMS=[jws.ALGORITHM], JWT_TOKEN_LOCATION=["headers"],
        JWT_DECODE_ISSUER=issuer, JWT_DECODE_AUDIENCE=issuer, JWT_DECODE_LEEWAY=leeway_s,
    )  # fmt: skip
    manager = JWTManager(app)
    manager.decode_key_loader(_key)
    manager.user_lookup_loader(_caller)


def token_required(page: Callable[..., Any]) -> Callable[..., Any]:
    """Return *page*, which answers only who shows a good token.

    The library does not come to see what it would not read as the data plane does: no token at all, or two.
    """
    guarded = jwt_required()(page)

    @wraps(page)
    def judged(*args: Any, **names: Any) -> Any:
        g.caller = _judged()
        return guarded(*args, **names)

    return judged


def present_caller() -> Caller:
    """Return who shows the token of the present request, which ``token_required`` has let pass."""
    found: Caller = current_user
    return found


def _key(_header: dict[str, Any], _payload: dict[str, Any]) -> Ed25519PublicKey:
    key = portal().key(g.caller.claims.kid)
    if key is None:
        raise InvalidToken("the key of the token is not known (kid)", headers=INVALID_TOKEN)
    return key


def _judged() -> Caller:
    match = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if match is None:
        raise InvalidToken("the request has no bearer token", headers=NOTHING_SHOWN)
    if "access_token" in request.args:
        raise BadRequest("the token stands in two places: it belongs into Authorization alone", headers=INVALID_REQUEST)
    source = request.remote_addr or ""
    try:
        caller = portal().caller(match[1].encode(errors="replace"), source)
    except InvalidToken as error:
        raise InvalidToken(str(error), headers=INVALID_TOKEN) from error
    check_network(caller.client, source)
    return caller


def _caller(_header: dict[str, Any], _payload: dict[str, Any]) -> Caller:
    found: Caller = g.caller
    return found
