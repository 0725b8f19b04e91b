"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07), and the digests that it is remembered by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from entrepot.chassis.errors import Mistake
from entrepot.errors import BadRequest

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

NAME = "Idempotency-Key"
FIELD = b"idempotency-key"
MAX_CHARS = 255

_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a string of RFC 8941, section 3.3.3
_BARE = re.compile(rb"[!#-~][!-~]*")


def key_of(fields: Mapping[bytes, bytes]) -> str | None:
    """Return the key in *fields*, None when there is none. Quoted and bare are the same.

    Raises BadRequest when it is empty, longer than ``MAX_CHARS``, given twice, or holds something else than visible
    ASCII; between quotes there may be spaces.
    """
    given = fields.get(FIELD)
    if given is None:
        return None
    quoted = _QUOTED.fullmatch(given)
    if quoted is not None:
        key = re.sub(rb"\\(.)", rb"\1", quoted.group(1))
    elif _BARE.fullmatch(given):
        key = given
    else:
        raise _bad("must be one key, a quoted string or visible ASCII without spaces" if given else "must not be empty")
    if not key:
        raise _bad("must not be empty")
    if len(key) > MAX_CHARS:
        raise _bad(f"must have at most {MAX_CHARS} characters, has {len(key)}")
    return key.decode("ascii")


def require_key() -> BadRequest:
    """Return the error of a write that must have a key and has none."""
    return _bad("is required here")


def key_digest(client: str, endpoint: str, key: str) -> str:
    """Return what *key* of *client* is remembered by at *endpoint*."""
    return hashlib.sha256(f"{client}\0{endpoint}\0{key}".encode()).hexdigest()


def request_digest(exchange: Exchange) -> str:
    """Return what tells this request from another one with the same key: method, path, query and body."""
    asked = b"%b %b?%b\n" % (exchange.method, exchange.path, exchange.query)
    return hashlib.sha256(asked + exchange.body).hexdigest()


def _bad(why: str) -> BadRequest:
    return BadRequest(f"{NAME} {why}", errors=[Mistake(why, NAME)])
