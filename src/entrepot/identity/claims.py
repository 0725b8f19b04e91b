"""What a token says, as a value: the claims of RFC 9068, present and of the right type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entrepot.errors import InvalidToken
from entrepot.identity.jws import Jws

_TIME_END = 2**53


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. *issued_at* is a whole second, rounded down."""

    client: str
    partner: str
    jti: str
    scopes: frozenset[str]
    expires_at: float
    issued_at: int
    kid: str


def claims_of(parts: Jws) -> Claims:
    """Return what *parts* say. Raises InvalidToken for a claim that is missing or of another type."""
    payload = parts.payload
    client = _text(payload, "client_id")
    if _text(payload, "sub") != client:
        raise InvalidToken("the token is not of a client (sub)")
    return Claims(
        client=client,
        partner=_text(payload, "partner"),
        jti=_text(payload, "jti"),
        scopes=frozenset(_text(payload, "scope", empty=True).split()),
        expires_at=time_of(payload, "exp"),
        issued_at=int(time_of(payload, "iat")),
        kid=_text(parts.header, "kid"),
    )


def time_of(payload: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519, section 2) of *payload*. Raises InvalidToken when it is none."""
    # A number of JSON: neither a string, nor true, nor 1e999, which Python reads as infinity.
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _TIME_END:
        raise InvalidToken(f"the token has no usable {name}")
    return value


def _text(members: dict[str, Any], name: str, *, empty: bool = False) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise InvalidToken(f"the token has no usable {name}")
    return value
