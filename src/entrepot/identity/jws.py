"""Signed tokens as bytes: the compact serialisation of RFC 7515, and nothing else of it.

Done on ``cryptography`` alone. A general library (PyJWT) looks at claims only after the costly signature, lets
duplicate members and loose base64 pass, and raises errors of several trees; here the algorithm is that of the key,
cheap checks come first, and each mistake is an InvalidToken. Tokens of Entrepot are signed with Ed25519.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from cryptography.exceptions import InvalidSignature

from entrepot.errors import InvalidToken
from entrepot.identity.jwk import VerificationKey
from entrepot.identity.keys import SigningKey

MAX_TOKEN_BYTES = 8192
ALGORITHM = "EdDSA"
_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Compact:
    """A signed text taken apart; nothing of it has been believed yet. *signed* are the bytes that *signature* is of."""

    header: dict[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Jws:
    """A token taken apart, as ``Compact``; its payload is an object."""

    header: dict[str, Any]
    payload: dict[str, Any]
    signed: bytes
    signature: bytes


def take_apart(text: bytes) -> Compact:
    """Return the parts of *text*. Raises InvalidToken for everything but one compact, canonical serialisation.

    Two different texts are never the same parts: base64url without padding, loose characters or stray bits
    (RFC 8725, section 2.4), a header in UTF-8 without duplicate members (RFC 8725, section 3.10).
    """
    if len(text) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    match = _COMPACT.fullmatch(text)
    if match is None:
        raise InvalidToken("the token is not a signed JWT")
    header, payload, signature = match.groups()
    return Compact(_object(_decoded(header)), _decoded(payload), text[: match.end(2)], _decoded(signature))


def parse(token: bytes) -> Jws:
    """Return the parts of *token*, whose payload must be an object as its header is. Raises InvalidToken."""
    parts = take_apart(token)
    return Jws(parts.header, _object(parts.payload), parts.signed, parts.signature)


def verify(parts: Compact | Jws, key: VerificationKey) -> None:
    """Return when *key* made the signature. Raises InvalidToken when not, and when the header names another algorithm.

    The key alone decides which algorithm it is (RFC 8725, section 3.1).
    """
    if parts.header.get("alg") != key.algorithm:
        raise InvalidToken(f"the token is signed with another algorithm than {key.algorithm}")
    try:
        key.check(parts.signature, parts.signed)
    except InvalidSignature as exc:
        raise InvalidToken("the signature of the token is wrong") from exc


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
        value = _json.decode(text.decode())
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
