"""JSON Schemas (2020-12) of the bodies that an endpoint takes, and every mistake of a body with its JSON pointer.

They follow from the fields alone, so the gateway, the API documents and the pages say the same. Bounds that Odoo has
and a partner cannot see (32-bit integers, numbers to 1e15, NUL-free text, years of four digits) are part of the schema.

Everything has a bound beside ``max_body``: 1000 related records, 10 000 000 characters of text, 134 217 728 of base64,
255 of dates, choices and references, no names but the fields'; in free JSON, 100 000 items and 10 000 members, whose
names have 1000 characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import jsonschema_rs

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Argument, CallMapping, Field, Json, ModelMapping
from entrepot.connectors.odoo.values import MAX_NUMBER

MAX_ITEMS = 1000
MAX_TEXT = 10_000_000
MAX_BASE64 = 1 << 27
MAX_SHORT = 255
MAX_JSON_ITEMS = 100_000
MAX_JSON_MEMBERS = 10_000
MAX_JSON_NAME = 1000
MAX_INTEGER = 2**31 - 1
MAX_MISTAKES = 100

TEXT_TYPES = frozenset({"char", "text", "html"})
NUMBER_TYPES = frozenset({"float", "monetary"})
MANY_TYPES = frozenset({"one2many", "many2many"})
# Odoo has no empty value for these: writing null would read back as 0 or false.
NEVER_NULL = NUMBER_TYPES | MANY_TYPES | {"integer", "boolean"}

NO_NUL = "^[^\\u0000]*$"
DATE = "^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$"
DATETIME = (
    "^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
REFERENCE = "^[a-z][a-z0-9_.]*,[1-9][0-9]{0,9}$"

_RECORD_ID: dict[str, Json] = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
_TEXT: dict[str, Json] = {"type": "string", "pattern": NO_NUL, "maxLength": MAX_TEXT}
_BY_TYPE: dict[str, dict[str, Json]] = {
    "char": _TEXT,
    "text": _TEXT,
    "html": _TEXT,
    "integer": {"type": "integer", "minimum": -MAX_INTEGER - 1, "maximum": MAX_INTEGER},
    "float": {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER},
    "monetary": {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date", "pattern": DATE, "maxLength": MAX_SHORT},
    "datetime": {"type": "string", "format": "date-time", "pattern": DATETIME, "maxLength": MAX_SHORT},
    "selection": {"type": "string", "pattern": NO_NUL, "maxLength": MAX_SHORT},
    "many2one": _RECORD_ID,
    "many2one_reference": _RECORD_ID,
    "many2many": {"type": "array", "items": _RECORD_ID, "maxItems": MAX_ITEMS, "uniqueItems": True},
    "one2many": {"type": "array", "items": _RECORD_ID, "maxItems": MAX_ITEMS, "uniqueItems": True},
    "binary": {"type": "string", "contentEncoding": "base64", "pattern": BASE64, "maxLength": MAX_BASE64},
    "reference": {"type": "string", "pattern": REFERENCE, "maxLength": MAX_SHORT},
}
_ANY_JSON: dict[str, Json] = {
    "pattern": NO_NUL,
    "maxLength": MAX_TEXT,
    "items": {"$ref": "#/$defs/json"},
    "maxItems": MAX_JSON_ITEMS,
    "propertyNames": {"pattern": NO_NUL, "maxLength": MAX_JSON_NAME},
    "maxProperties": MAX_JSON_MEMBERS,
    "additionalProperties": {"$ref": "#/$defs/json"},
}
_ARGUMENTS: dict[str, dict[str, Json]] = {
    "string": _BY_TYPE["char"],
    "integer": _BY_TYPE["integer"],
    "number": _BY_TYPE["float"],
    "boolean": _BY_TYPE["boolean"],
    "date": _BY_TYPE["date"],
    "datetime": _BY_TYPE["datetime"],
    "array": {"$ref": "#/$defs/json", "type": "array"},
    "object": {"$ref": "#/$defs/json", "type": "object"},
}
ARGUMENT_TYPES = tuple(_ARGUMENTS)


def body_schema(mapping: ModelMapping | CallMapping, operation: Literal["create", "update", "call"]) -> dict[str, Json]:
    """Return the schema of the body that *operation* takes; fields must be resolved.

    A create wants the required fields, an update wants none of them; both refuse what is read-only or unknown.
    """
    if isinstance(mapping, CallMapping):
        return _call_schema(mapping)
    return _record_schema(mapping.fields, update=operation == "update")


def field_schema(field: Field, *, null: bool, update: bool = False) -> dict[str, Json]:
    """Return the schema of one field's value; *null* says whether null, which clears it, is taken too."""
    if field.type == "one2many" and field.fields:
        items = _line_schema(field.fields, update=update)
        return {"type": "array", "items": items, "maxItems": MAX_ITEMS}
    schema = dict(_BY_TYPE.get(field.type, {}))
    if not null and field.type in TEXT_TYPES:
        # Odoo takes the empty text for a value: a required field could be emptied by it.
        schema["minLength"] = 1
    if field.max_length is not None:
        schema["maxLength"] = field.max_length
    values = field.enum if field.enum is not None else field.choices
    # By a natural key the relation is cleared, whatever type its key has.
    nullable = null and (len(field.source) > 1 or field.type not in NEVER_NULL)
    if values is not None and field.type not in MANY_TYPES:
        schema = {"enum": [*values, None] if nullable else list(values)}
    elif nullable and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


def _line_schema(fields: tuple[Field, ...], *, update: bool) -> dict[str, Json]:
    """Return the schema of one line; in an update one that names its id changes that line, and needs nothing more."""
    schema = _record_schema(fields, update=False)
    by_id = [field.public for field in fields if field.source == ("id",)]
    if not update or not by_id:
        return schema
    schema["properties"] |= dict.fromkeys(by_id, _RECORD_ID)
    required = schema.pop("required", [])
    return schema | {"if": {"required": by_id}, "else": {"required": required}}


def _record_schema(fields: tuple[Field, ...], *, update: bool) -> dict[str, Json]:
    # A read-only field has the schema False, which `mistakes_of` tells apart from an unknown name.
    properties = {
        field.public: False if field.read_only else field_schema(field, null=not field.required, update=update)
        for field in fields
    }
    schema: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [field.public for field in fields if field.required and not field.read_only]
    if required and not update:
        schema["required"] = required
    return schema


def _call_schema(mapping: CallMapping) -> dict[str, Json]:
    taken = [argument for argument in mapping.arguments if argument.body_field is not None]
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {argument.body_field: dict(_ARGUMENTS[argument.type]) for argument in taken},
        "additionalProperties": False,
    }
    required = [argument.body_field for argument in taken if _is_wanted(argument)]
    if required:
        schema["required"] = required
    if any(argument.type in {"array", "object"} for argument in taken):
        schema["$defs"] = {"json": _ANY_JSON}
    return schema


def _is_wanted(argument: Argument) -> bool:
    return argument.required and not argument.has_default


def compile_schema(schema: Json) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of *schema*; its patterns run in linear time. Raises jsonschema_rs.ValidationError."""
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def mistakes_of(validator: jsonschema_rs.Draft202012Validator, body: Json) -> tuple[Mistake, ...]:
    """Return what is wrong with *body*, at most 100 mistakes, each with the JSON pointer of its place.

    All mistakes are made before the first is seen, 3 to 7 µs each: this is for small bodies.
    """
    found: dict[Mistake, None] = {}
    for error in validator.iter_errors(body):
        found.update(dict.fromkeys(_mistakes(error)))
        if len(found) >= MAX_MISTAKES:
            break
    return tuple(found)[:MAX_MISTAKES]


def first_mistake(validator: jsonschema_rs.Draft202012Validator, body: Json) -> tuple[Mistake, ...]:
    """Return the mistakes of the first place in *body* that is wrong, at most 100; none when nothing is."""
    try:
        validator.validate(body)
    except jsonschema_rs.ValidationError as error:
        return tuple(islice(dict.fromkeys(_mistakes(error)), MAX_MISTAKES))
    return ()


def _mistakes(error: jsonschema_rs.ValidationError) -> Iterator[Mistake]:
    place, kind = list(error.instance_path), error.kind.name
    detail: Any = error.kind
    if kind == "required":
        yield Mistake("is required", pointer([*place, detail.property]))
    elif kind == "additionalProperties":
        for name in detail.unexpected:
            yield Mistake("is not a field of this endpoint", pointer([*place, name]))
    elif kind == "falseSchema":
        yield Mistake("is read-only: leave it out", pointer(place))
    elif kind == "format":
        yield Mistake(_FORMATS.get(detail.format, f"is not a {detail.format}"), pointer(place))
    elif kind == "pattern":
        yield Mistake(_PATTERNS.get(detail.pattern, f"does not match {detail.pattern}"), pointer(place))
    else:
        yield Mistake(_shortened(error.message), pointer(place))


_PATTERNS = {
    NO_NUL: "holds a NUL character",
    DATE: "is not a date of the form 2026-01-31",
    DATETIME: "is not a date and time of the form 2026-01-31T10:00:00Z or 2026-01-31T10:00:00+01:00",
    BASE64: "is not base64 (RFC 4648, with padding)",
    REFERENCE: "is not a reference of the form res.partner,14",
}
_FORMATS = {"date": _PATTERNS[DATE], "date-time": _PATTERNS[DATETIME]}


def _shortened(message: str) -> str:
    # The message quotes the value, which may be a megabyte; its end says what is wrong.
    return message if len(message) <= 300 else f"{message[:80]}…{message[-200:]}"


def pointer(path: list[str | int]) -> str:
    """Return *path* as a JSON pointer (RFC 6901); the whole document is the empty text."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
