"""Bodies that are JSON: media type, syntax, schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import orjson

from entrepot.catalog.schemas import mistakes_of
from entrepot.chassis.errors import Mistake
from entrepot.errors import InvalidBody, MalformedJson, UnsupportedMediaType

JSON_TYPES = frozenset({b"application/json"})
MAX_POINTER = 200
UPDATE_TYPES = frozenset({b"application/json", b"application/merge-patch+json"})


def check_media_type(fields: Mapping[bytes, bytes], kind: str) -> None:
    """Raise UnsupportedMediaType unless *fields* say JSON in UTF-8 (merge-patch too for an update), not compressed."""
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("the body must not be compressed", headers=[("accept-encoding", "identity")])
    media_type, _, parameters = fields.get(b"content-type", b"").partition(b";")
    allowed = UPDATE_TYPES if kind == "update" else JSON_TYPES
    if media_type.strip().lower() not in allowed:
        raise UnsupportedMediaType("the body must be application/json")
    charset = parameters.strip().lower().replace(b'"', b"")
    if charset and charset != b"charset=utf-8":
        raise UnsupportedMediaType("the body must be UTF-8")


def parse_json(body: bytes) -> Any:
    """Return the document in *body*. NaN, lone surrogates and nesting beyond 1 024 levels are no JSON here."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise MalformedJson(f"the body is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}") from exc


def check_schema(validator: jsonschema_rs.Draft202012Validator, document: Any) -> None:
    """Raise InvalidBody with the JSON pointer of every mistake (the first 100)."""
    if not validator.is_valid(document):
        mistakes = [_shortened(mistake) for mistake in mistakes_of(validator, document)]
        count = len(mistakes)
        raise InvalidBody(f"the body has {count} mistake{'s' * (count != 1)}", errors=mistakes)


def _shortened(mistake: Mistake) -> Mistake:
    # A pointer names what the caller sent, which may be a megabyte.
    if mistake.path is None or len(mistake.path) <= MAX_POINTER:
        return mistake
    return Mistake(mistake.message, mistake.path[:MAX_POINTER] + "…")
