"""Odoo's domains and orders as SQL. Names of tables and columns come from the models, values are always bound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from entrepot.standin.faults import OdooError, user_error, value_error
from entrepot.standin.models import MODELS, Field, Json, Model

Condition = tuple[str, list[Json]]
"""An SQL condition and the values that it binds."""

_JOINS = {"&": "AND", "|": "OR"}
_COMPARISONS = {"<": "<", ">": ">", "<=": "<=", ">=": ">="}
_LIKES = ("like", "ilike", "not like", "not ilike", "=like", "=ilike")
_ORDER_ITEM = re.compile(r"^\s*([a-z0-9_]+)(?:\s+(asc|desc))?\s*$", re.IGNORECASE)


def condition(model: Model, domain: Json) -> Condition:
    """Return the condition that *domain* (prefix notation; neighbours are joined by "and") stands for."""
    if not isinstance(domain, (list, tuple)):
        raise value_error(f"Invalid domain {domain!r}")
    waiting: list[Condition] = []
    for item in reversed(domain):
        if item in ("&", "|", "!"):
            waiting.append(_combine(item, waiting, domain))
        else:
            waiting.append(_leaf(model, item))
    if not waiting:
        return "1", []
    return " AND ".join(sql for sql, _ in reversed(waiting)), [v for _, values in reversed(waiting) for v in values]


def names_field(domain: Json, name: str) -> bool:
    """Tell whether a condition of *domain* is about the field *name* itself."""
    return any(isinstance(leaf, (list, tuple)) and leaf and leaf[0] == name for leaf in domain)


def ordering(model: Model, order: Json) -> str:
    """Return the ORDER BY list of Odoo's *order*, the model's own when it is empty."""
    return ", ".join(_order_item(model, item, str(order)) for item in str(order or model.order).split(","))


@lru_cache(maxsize=256)
def _pattern(pattern: str, fold: bool) -> re.Pattern[str]:
    tokens = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    parts = [wild.get(token) or re.escape(token[-1]) for token in tokens]
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if fold else 0))


def matches(value: str | None, pattern: str, fold: int) -> bool:
    """Tell whether *value* fits an SQL pattern (``%``, ``_``); SQLite's own LIKE folds ASCII alone."""
    return value is not None and _pattern(pattern, bool(fold)).fullmatch(str(value)) is not None


def _order_item(model: Model, item: str, order: str) -> str:
    match = _ORDER_ITEM.match(item)
    if match is None:
        raise user_error(
            f'Invalid "order" specified ({order}). A valid "order" specification is a comma-separated list of valid '
            "field names (optionally followed by asc/desc for the direction)"
        )
    field = model.fields.get(match[1])
    if field is None or field.type == "one2many":
        raise value_error(f"Invalid field {match[1]!r} on model {model.name!r}")
    # PostgreSQL, under Odoo, counts NULL as the largest value; SQLite as the smallest.
    direction = "DESC NULLS FIRST" if (match[2] or "").lower() == "desc" else "ASC NULLS LAST"
    if field.type == "many2one":
        other = MODELS[field.relation].table
        name = f"(SELECT o.display_name FROM {other} o WHERE o.id = {model.table}.{field.name})"  # noqa: S608 - names of ours
        return f"{name} {direction}"
    return f"{model.table}.{field.name} {direction}"


def _combine(operator: str, waiting: list[Condition], domain: Json) -> Condition:
    try:
        first = waiting.pop()
        if operator == "!":
            return f"(NOT coalesce({first[0]}, 0))", first[1]
        second = waiting.pop()
    except IndexError as exc:
        raise OdooError("builtins.AssertionError", f"This domain is syntactically not correct: {domain}") from exc
    return f"({first[0]} {_JOINS[operator]} {second[0]})", [*first[1], *second[1]]


def _leaf(model: Model, item: Json) -> Condition:
    if not isinstance(item, (list, tuple)) or len(item) != 3 or not isinstance(item[0], str):
        raise value_error(f"Invalid leaf {item}")
    path, operator, value = item
    field, rest = _step(model, path, item)
    if rest:
        return _through(model, field, [rest, operator, value])
    if field.type == "one2many":
        return _lines(model, field, operator, value)
    if field.type == "many2one" and _is_text(value):
        return _through(model, field, ["display_name", operator, value])
    return _compare(f"{model.table}.{field.name}", field, operator, value, item)


def _step(model: Model, path: str, item: Sequence[Json]) -> tuple[Field, str]:
    name, _, rest = path.partition(".")
    field = model.fields.get(name)
    if field is None or (rest and not field.relation):
        raise value_error(f"Invalid field {model.name}.{path} in leaf {tuple(item)!r}")
    return field, rest


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and bool(value) and not value.isdigit()


def _through(model: Model, field: Field, leaf: list[Json]) -> Condition:
    """Return the condition on the records that *field* leads to."""
    other = MODELS[field.relation]
    sql, values = _leaf(other, leaf)
    wanted, link = ("id", field.name) if field.type == "many2one" else (field.inverse, "id")
    return f"{model.table}.{link} IN (SELECT {wanted} FROM {other.table} WHERE {sql})", values  # noqa: S608 - names of ours


def _lines(model: Model, field: Field, operator: str, value: Json) -> Condition:
    """Return the condition on a one2many itself: false asks for records without any."""
    other = MODELS[field.relation]
    if not value:
        words = "NOT IN" if operator in ("=", "in") else "IN"
        inner = f"SELECT {field.inverse} FROM {other.table} WHERE {field.inverse} IS NOT NULL"  # noqa: S608 - names of ours
        return f"{model.table}.id {words} ({inner})", []
    return _through(model, field, ["id" if not _is_text(value) else "display_name", operator, value])


def _compare(column: str, field: Field, operator: str, value: Json, item: Sequence[Json]) -> Condition:
    if operator in ("in", "not in"):
        return _among(column, field, operator, value)
    if operator in ("=", "!=", "<>"):
        return _equal(column, field, value, negated=operator != "=")
    if operator in _COMPARISONS:
        return f"{column} {_COMPARISONS[operator]} ?", [_bound(field, value)]
    if operator in _LIKES:
        return _like(column, operator, value)
    raise value_error(f"Invalid leaf {tuple(item)!r}")


def _equal(column: str, field: Field, value: Json, *, negated: bool) -> Condition:
    if field.type == "boolean":
        return f"coalesce({column}, 0) {'!=' if negated else '='} ?", [int(bool(value))]
    if value is False or value is None:
        return f"{column} IS {'NOT NULL' if negated else 'NULL'}", []
    if negated:
        return f"({column} != ? OR {column} IS NULL)", [_bound(field, value)]
    return f"{column} = ?", [_bound(field, value)]


def _among(column: str, field: Field, operator: str, value: Json) -> Condition:
    chosen = value if isinstance(value, (list, tuple)) else [value] if value else []
    values = [_bound(field, one) for one in chosen if one is not False and one is not None]
    marks = ", ".join("?" for _ in values)
    # An empty list is nothing in "in" and everything in "not in"; false in the list stands for NULL.
    empty = len(values) < len(chosen)
    if operator == "in":
        return f"({column} IN ({marks}){f' OR {column} IS NULL' if empty else ''})", values
    return f"({column} NOT IN ({marks}) {f'AND {column} IS NOT NULL' if empty else f'OR {column} IS NULL'})", values


def _like(column: str, operator: str, value: Json) -> Condition:
    text = "" if value is False or value is None else str(value)
    pattern = text if operator.startswith("=") else f"%{text}%"
    fold = int("ilike" in operator)
    if operator.startswith("not"):
        return f"(NOT matches({column}, ?, ?))", [pattern, fold]
    return f"matches({column}, ?, ?)", [pattern, fold]


def _bound(field: Field, value: Json) -> Json:
    """Return *value* as SQLite can bind it; PostgreSQL refuses what is no number or date, and so does this."""
    if isinstance(value, (list, tuple, dict)):
        raise OdooError("psycopg2.ProgrammingError", f"can't adapt type {type(value).__name__!r}")
    try:
        if field.type in ("integer", "many2one"):
            return max(-(2**62), min(2**62, int(value)))
        if field.type in ("float", "monetary"):
            return float(value)
    except (ValueError, TypeError, OverflowError) as exc:
        text = f'invalid input syntax for type {field.type}: "{value}"\n'
        raise OdooError("psycopg2.errors.InvalidTextRepresentation", text) from exc
    if isinstance(value, bool):
        return int(value) if field.type == "boolean" else str(value)
    return str(value)
