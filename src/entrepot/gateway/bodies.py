"""Bodies that are JSON: media type, syntax, schema.

All of this happens on the event loop, so none of it may take long. ``max_body`` bounds the text in a body; the number
of its values is bounded here, and mistakes are looked for as long as that is cheap. Measured: 0.2 µs to read a value,
0.5 µs to copy it into a mistake, 7 µs for each of many mistakes, 1.6 ms to match a megabyte of text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import jsonschema_rs
import orjson

from entrepot.catalog.schemas import first_mistake, mistakes_of
from entrepot.chassis.errors import Mistake
from entrepot.errors import BodyTooLarge, InvalidBody, MalformedJson, UnsupportedMediaType

JSON_TYPES = frozenset({b"application/json"})
MAX_POINTER = 200
MAX_VALUES = 100_000
ALL_MISTAKES_VALUES = 1000
ALL_MISTAKES_CHARS = 32 * 1024
FIRST_MISTAKE_VALUES = 50_000
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
    """Return the document in *body*. NaN, lone surrogates and nesting beyond 1 024 levels are no JSON here.

    Raises MalformedJson, and BodyTooLarge for more than 100 000 values, of which a list or object counts as two.
    """
    if len(body) > MAX_VALUES and _has_too_many_values(body):
        raise BodyTooLarge(f"the body holds too many values: at most {MAX_VALUES}, where each list counts twice")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise MalformedJson(f"the body is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}") from exc


def check_members(body: bytes) -> None:
    """Raise MalformedJson when a member of an object in *body*, which is JSON, stands twice.

    A relay passes the body on as it came: an upstream that takes the first of two would get what nobody has checked
    (RFC 8259, section 4).
    """
    try:
        json.loads(body, object_pairs_hook=_once)
    except RecursionError as exc:
        raise MalformedJson("the body is nested too deeply") from exc


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("a member of an object stands twice")
    return members


def check_schema(validator: jsonschema_rs.Draft202012Validator, document: Any) -> None:
    """Raise InvalidBody with JSON pointers, MalformedJson when what is wrong is nested too deeply to be told.

    Of a document up to 1000 values and 32 Ki characters these are all mistakes, at most 100; of a larger one the first
    is told, and of one beyond 50 000 values that it is wrong.
    """
    if validator.is_valid(document):
        return
    try:
        _raise_mistakes(validator, document)
    except ValueError as exc:
        # A value that is wrong is copied for the message, down to 255 levels.
        raise MalformedJson("the body is nested too deeply") from exc


def _raise_mistakes(validator: jsonschema_rs.Draft202012Validator, document: Any) -> NoReturn:
    values, chars = _size(document)
    if values <= ALL_MISTAKES_VALUES and chars <= ALL_MISTAKES_CHARS:
        mistakes = [_shortened(mistake) for mistake in mistakes_of(validator, document)]
        count = len(mistakes)
        raise InvalidBody(f"the body has {count} mistake{'s' * (count != 1)}", errors=mistakes)
    if values <= FIRST_MISTAKE_VALUES:
        mistakes = [_shortened(mistake) for mistake in first_mistake(validator, document)]
        raise InvalidBody("the body has mistakes, of which the first is told", errors=mistakes)
    told = Mistake(f"does not fit the schema; of up to {FIRST_MISTAKE_VALUES} values the first mistake is told", "")
    raise InvalidBody("the body has mistakes", errors=[told])


def _has_too_many_values(body: bytes) -> bool:
    if _marks(body) <= MAX_VALUES:
        return False
    # What stands in strings is no value; but to look past more strings than may be there would take long itself.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return plain.count(b'"') > 4 * MAX_VALUES or _marks(b"".join(plain.split(b'"')[::2])) > MAX_VALUES


def _marks(text: bytes) -> int:
    """Return how many values *text* may hold: each but the first stands after one of these. A list counts twice."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _size(document: Any) -> tuple[int, int]:
    """Return how many values *document* has, counted up to the first bound that matters, and characters in them."""
    values = chars = 0
    waiting = [document]
    while waiting and values <= FIRST_MISTAKE_VALUES:
        each = waiting.pop()
        values += 1
        if isinstance(each, str):
            chars += len(each)
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, dict):
            waiting.extend(each.values())
            chars += sum(map(len, each))
    return values, chars


def _shortened(mistake: Mistake) -> Mistake:
    # A pointer names what the caller sent, which may be a megabyte.
    if mistake.path is None or len(mistake.path) <= MAX_POINTER:
        return mistake
    return Mistake(mistake.message, mistake.path[:MAX_POINTER] + "…")
