"""Single values between Odoo and JSON, by Odoo's field type.

Odoo says ``false`` where there is no value; JSON says null. Dates are ISO 8601, datetimes RFC 3339 in UTC
(``2026-01-31T10:00:00Z``), where Odoo has ``2026-01-31 10:00:00``; binary is base64; a reference is ``model,id``.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from entrepot.connectors.base import Json

MAX_ID = 2**31 - 1
# Odoo computes with doubles, which hold fifteen digits, and fails on what its rounding or its totals make infinite.
MAX_NUMBER = 10**15
TEXT_TYPES = frozenset({"char", "text", "html"})
NUMBER_TYPES = frozenset({"float", "monetary"})
MANY_TYPES = frozenset({"one2many", "many2many"})
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_REFERENCE = re.compile(r"[a-z][a-z0-9_.]*,[1-9]\d{0,9}", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,19}", re.ASCII)


class BadValue(ValueError):
    """A value that its field cannot have; the message says what would be right, for partners."""


def to_json(field_type: str) -> Callable[[Json], Json]:
    """Return the function that makes JSON of Odoo's value of a field of *field_type*, relations by id."""
    return _TO_JSON.get(field_type, _or_null)


def to_odoo(value: Json, field_type: str) -> Json:
    """Return *value* as Odoo takes it in ``write``, ``create`` and domains; null is False. Relations by id.

    Raises BadValue with a sentence that says what would be right. Fractions of a second are dropped: Odoo has none.
    """
    if value is None:
        return [] if field_type in MANY_TYPES else False
    return _TO_ODOO.get(field_type, _text)(value)


def from_text(text: str, field_type: str) -> Json:
    """Return the value that *text* of a query parameter or path stands for, as ``to_odoo`` does.

    Raises BadValue. ``null`` is no value, but for texts, where it is the word.
    """
    if field_type in TEXT_TYPES or field_type in {"selection", "reference", "date", "datetime"}:
        if text == "null" and field_type not in TEXT_TYPES:
            return False
        return to_odoo(text, field_type)
    if text == "null":
        return False
    if field_type == "boolean":
        if text not in {"true", "false"}:
            raise BadValue("must be true or false")
        return text == "true"
    if field_type in NUMBER_TYPES:
        return _number_of(text)
    if not _WHOLE_NUMBER.fullmatch(text):
        raise BadValue("must be a whole number")
    return _id(int(text)) if field_type in {"many2one", "many2many", "one2many"} else _integer(int(text))


def record_id(text: str) -> int | None:
    """Return the database id that *text* is, None when it cannot be one (not a number, or beyond 32 bits)."""
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not 0 < int(text) <= MAX_ID:
        return None
    return int(text)


def _same(value: Json) -> Json:
    return value


def _or_null(value: Json) -> Json:
    return None if value is False else value


def _date_time(value: Json) -> Json:
    return f"{value[:10]}T{value[11:]}Z" if value else None


def _first(value: Json) -> Json:
    """Return the id of a many2one, which is ``[id, name]``, or the bare id in the results of some methods."""
    return (value[0] if isinstance(value, list) else value) if value else None


def _number(value: Json) -> Json:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue("must be a number")
    if not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise BadValue("must lie between -1e15 and 1e15")
    return float(value)


def _number_of(text: str) -> float:
    # float() would also take "nan", "inf" and "1_000", which are no numbers in JSON.
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text, re.ASCII) or abs(number := float(text)) == float(
        "inf"
    ):
        raise BadValue("must be a number")
    return number


def _integer(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue("must be a whole number")
    # Odoo's Integer is PostgreSQL's int4.
    if not -MAX_ID - 1 <= value <= MAX_ID:
        raise BadValue("must fit into 32 bits")
    return value


def _id(value: Json) -> Json:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_ID:
        raise BadValue("must be the id of a record")
    return value


def _ids(value: Json) -> Json:
    if not isinstance(value, list):
        raise BadValue("must be a list of ids")
    return [_id(item) for item in value]


def _boolean(value: Json) -> Json:
    if not isinstance(value, bool):
        raise BadValue("must be true or false")
    return value


def _text(value: Json) -> Json:
    if not isinstance(value, str):
        raise BadValue("must be a text")
    if "\0" in value:
        raise BadValue("must not hold a NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise BadValue("must not hold half of a surrogate pair")
    return value


def _selection(value: Json) -> Json:
    return value if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _date_of(value: Json) -> Json:
    try:
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise BadValue
        return _in_range(date.fromisoformat(value)).isoformat()
    except ValueError as error:
        raise BadValue("must be a date such as 2026-01-31") from error


def _date_time_of(value: Json) -> Json:
    try:
        if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
            raise BadValue
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        _in_range(moment.date())
    except (ValueError, OverflowError) as error:
        raise BadValue("must be an RFC 3339 date and time such as 2026-01-31T10:00:00Z") from error
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _in_range(day: date) -> date:
    # Python writes the year 999 as "999" on Linux, in Odoo as here, and Odoo cannot read that again.
    if day.year < 1000:
        raise BadValue
    return day


def _base64(value: Json) -> Json:
    try:
        if not isinstance(value, str):
            raise BadValue
        binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise BadValue("must be base64 (RFC 4648, section 4)") from error
    return value


def _reference(value: Json) -> Json:
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise BadValue("must be a reference such as res.partner,14")
    return value


_TO_JSON: Mapping[str, Callable[[Json], Json]] = {
    "boolean": _same,
    "integer": _same,
    "float": _same,
    "monetary": _same,
    "datetime": _date_time,
    "many2one": _first,
    "many2many": _same,
    "one2many": _same,
}
_TO_ODOO: Mapping[str, Callable[[Json], Json]] = {
    "boolean": _boolean,
    "integer": _integer,
    "many2one_reference": _integer,
    "float": _number,
    "monetary": _number,
    "date": _date_of,
    "datetime": _date_time_of,
    "selection": _selection,
    "many2one": _id,
    "many2many": _ids,
    "one2many": _ids,
    "binary": _base64,
    "reference": _reference,
}
