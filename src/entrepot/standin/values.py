"""Values between JSON as Odoo speaks it and columns of SQLite."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from entrepot.standin.faults import OdooError, broken_reference, unknown_field, value_error
from entrepot.standin.models import Field, Json, Model

DATE = "%Y-%m-%d"
DATETIME = "%Y-%m-%d %H:%M:%S"


def now() -> str:
    """Return this moment as Odoo writes it, UTC without a zone."""
    return datetime.now(UTC).strftime(DATETIME)


def field_of(model: Model, name: Json) -> Field:
    """Return the field of that name; an unknown one is Odoo's ValueError."""
    field = model.fields.get(name) if isinstance(name, str) else None
    if field is None:
        raise unknown_field(model, name)
    return field


def to_column(model: Model, field: Field, value: Json) -> Json:
    """Return *value* as the column keeps it: NULL for Odoo's false, except in numbers and booleans."""
    if field.type == "many2one":
        return _reference(model, field, value)
    if field.type == "selection":
        return _choice(model, field, value)
    convert = _TO_COLUMN.get(field.type, _text)
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError) as exc:
        raise OdooError(f"builtins.{type(exc).__name__}", str(exc)) from exc


def from_column(field: Field, value: Json) -> Json:
    """Return the column as JSON: false where there is nothing, zero for numbers."""
    if field.type == "boolean":
        return bool(value)
    if value is not None:
        return value
    if field.type in ("float", "monetary"):
        return 0.0
    return 0 if field.type == "integer" else False


def _text(value: Json) -> str | None:
    if value is None or value is False:
        return None
    text = str(value)
    if "\0" in text:
        raise ValueError("A string literal cannot contain NUL (0x00) characters.")
    return text


def _moment(form: str) -> Callable[[Json], str | None]:
    def convert(value: Json) -> str | None:
        if not value:
            return None
        datetime.strptime(str(value), form).replace(tzinfo=UTC)
        return str(value)

    return convert


def _reference(model: Model, field: Field, value: Json) -> int | None:
    if value is None or value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        text = f'invalid input syntax for type integer: "{value}"\n'
        raise OdooError("psycopg2.errors.InvalidTextRepresentation", text)
    if not 0 < value < 2**31:
        raise broken_reference(model, field)
    return value


def _choice(model: Model, field: Field, value: Json) -> str | None:
    if value is None or value is False:
        return None
    if value not in {choice for choice, _ in field.selection}:
        raise value_error(f"Wrong value for {model.name}.{field.name}: {value!r}")
    return str(value)


_TO_COLUMN: dict[str, Callable[[Json], Json]] = {
    "integer": lambda value: int(value or 0),
    "float": lambda value: float(value or 0.0),
    "monetary": lambda value: float(value or 0.0),
    "boolean": lambda value: int(bool(value)),
    "date": _moment(DATE),
    "datetime": _moment(DATETIME),
}
