"""Signed tokens as bytes: the compact serialisation of RFC 7515 with Ed25519, and nothing else of it.

Done on ``cryptography`` alone. A general library (PyJWT) takes many algorithms, looks at claims only after the costly
signature, lets duplicate members and loose base64 pass, and raises errors of several trees; here one algorithm is
known, cheap checks come first, and each mistake is an InvalidToken.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from entrepot.errors import InvalidToken
from entrepot.identity.keys import SigningKey

MAX_TOKEN_BYTES = 8192
ALGORITHM = "EdDSA"
# An Ed25519 signature is 64 bytes: 86 characters.
_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")


@dataclass(frozen=True, slots=True)
class Jws:
    """A token taken apart; nothing of it has been believed yet. *signed* are the bytes that *signature* is of."""

    header: dict[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def parse(token: bytes) -> Jws:
    """Return the parts of *token*. Raises InvalidToken for everything but one compact, canonical serialisation.

    Two different tokens are never the same parts: base64url without padding, loose characters or stray bits
    (RFC 8725, section 2.4), JSON objects in UTF-8 without duplicate members (RFC 8725, section 3.10).
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidToken("the token is not a signed JWT")
    header, payload, signature = match.groups()
    return Jws(_object(header), _object(payload), token[: match.end(2)], _decoded(signature))


def sign(key: SigningKey, header: dict[str, str], payload: dict[str, Any]) -> bytes:
    """Return the token of *header* (plus ``alg`` and ``kid``) and *payload*."""
    whole_header = {**header, "alg": ALGORITHM, "kid": key.kid}
    signed = b".".join((_encoded(orjson.dumps(whole_header)), _encoded(orjson.dumps(payload))))
    return signed + b"." + _encoded(key.private.sign(signed))


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    # A length of 1 modulo 4 is refused as "incorrect padding" by the decoder, whatever is appended.
    try:
        data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError as exc:
        raise InvalidToken("the token is not base64url") from exc
    if _encoded(data) != text:
        raise InvalidToken("the token is not canonical base64url")
    return data


def _object(text: bytes) -> dict[str, Any]:
    # Decoding first, because json.loads would take UTF-16 and UTF-32 as well. Deep nesting is a RecursionError.
    try:
        value = _json.decode(_decoded(text).decode())
    except (ValueError, RecursionError) as exc:
        raise InvalidToken("the token holds something else than plain JSON") from exc
    if not isinstance(value, dict):
        raise InvalidToken("the token holds something else than JSON objects")
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("duplicate member")
    return value


def _integer(text: str) -> int:
    # Thousands of digits cost as much as a signature check; 17 hold all that JSON can exchange (RFC 7493, section 2.2).
    if len(text) > 17:
        raise ValueError("number too large")
    return int(text)


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_json = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_refused)
