"""Templates and Odoo domains: texts with ``{path value}``, ``{partner.KEY}`` and ``{client}`` in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from entrepot.catalog.keys import BAD, Bad, Spot, describe, did_you_mean
from entrepot.catalog.tree import Node, plain
from entrepot.connectors.base import Json

_TEMPLATE = re.compile(r"\{([^{}]*)\}")
_KNOWN = re.compile(r"partner\.[A-Za-z_][A-Za-z0-9_]*|[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")

ARITY = {"&": 2, "|": 2, "!": 1}
OPERATORS = (
    "=", "!=", "<", "<=", ">", ">=", "=?", "like", "not like", "ilike", "not ilike", "=like", "=ilike", "in", "not in",
    "child_of", "parent_of",
)  # fmt: skip
_LISTS = frozenset({"in", "not in"})
_EITHER = frozenset({"child_of", "parent_of"})
# Odoo's leaves that are always true and never true (odoo/osv/expression.py).
_CONSTANTS = ([1, "=", 1], [0, "=", 1])


def names_in(value: Json) -> Iterator[str]:
    """Yield the name inside every template of *value*, whatever its shape."""
    if isinstance(value, str):
        yield from _TEMPLATE.findall(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from names_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names_in(item)


def fields_in(domain: Sequence[Any]) -> Iterator[str]:
    """Yield the first step of every field path in *domain*."""
    for leaf in domain:
        if isinstance(leaf, list | tuple) and isinstance(leaf[0], str):
            yield leaf[0].split(".")[0]


def template_value(node: Node, spot: Spot) -> Any:
    """Return *node* as JSON; every text in it must be a well-formed template. A parser of keys."""
    before = len(spot.mistakes)
    _check_texts(node, spot)
    return plain(node) if len(spot.mistakes) == before else BAD


def _check_texts(node: Node, spot: Spot) -> None:
    if isinstance(node.value, str):
        _check_text(node.value, node, spot)
    for name, child in node.entries.items():
        _check_texts(child, spot.at(name))
    for index, child in enumerate(node.items):
        _check_texts(child, spot.at(index))


def _check_text(text: str, node: Node, spot: Spot) -> None:
    rest = _TEMPLATE.sub("", text)
    if "{" in rest or "}" in rest:
        spot.wrong(node, "a brace stands alone: a template is {partner.KEY}, {client} or {the name of a path value}")
    for name in _TEMPLATE.findall(text):
        if not _KNOWN.fullmatch(name):
            spot.wrong(node, f"{{{name}}} is no template: there are {{partner.KEY}}, {{client}} and {{path value}}")


def domain(node: Node, spot: Spot) -> Any:
    """Return the Odoo domain that *node* writes, as tuples all the way down. A parser of keys."""
    if not isinstance(node.value, list):
        return spot.wrong(node, f"must be a domain: a list of [field, operator, value]; it is {describe(node)}")
    before = len(spot.mistakes)
    for index, child in enumerate(node.value):
        _check_term(child, spot.at(index))
    if len(spot.mistakes) == before:
        _check_arity(node, spot)
    return frozen(plain(node)) if len(spot.mistakes) == before else BAD


def _check_arity(node: Node, spot: Spot) -> None:
    wanted = 1
    for child in node.items:
        # Terms that stand side by side are joined by an implicit "&".
        wanted = wanted or 1
        wanted += ARITY[str(child.value)] - 1 if isinstance(child.value, str) else -1
    if wanted and node.items:
        spot.wrong(node, f"an operator lacks {wanted} of its terms: `&` and `|` stand before two, `!` before one")


def _check_term(node: Node, spot: Spot) -> None:
    if isinstance(node.value, str):
        if node.value not in ARITY:
            spot.wrong(node, 'must be "&", "|", "!" or a term [field, operator, value]')
        return
    if len(node.items) != 3:
        spot.wrong(node, f"must be a term [field, operator, value]; it has {len(node.items)} parts" if node.items else
                   f"must be a term [field, operator, value]; it is {describe(node)}")  # fmt: skip
        return
    if plain(node) in _CONSTANTS:
        return
    field, operator, value = node.items
    if not isinstance(field.value, str) or not _PATH.fullmatch(field.value):
        spot.at(0).wrong(field, "must be an Odoo field, or a path such as partner_id.country_id")
    _check_operator(operator, value, spot)
    _check_texts(value, spot.at(2))


def _check_operator(operator: Node, value: Node, spot: Spot) -> Bad | None:
    name = operator.value
    if not isinstance(name, str) or name not in OPERATORS:
        text = name if isinstance(name, str) else ""
        return spot.at(1).wrong(operator, f"is no operator of Odoo{did_you_mean(text.lower(), OPERATORS)}")
    is_list = isinstance(value.value, list)
    is_whole_template = isinstance(value.value, str) and _TEMPLATE.fullmatch(value.value) is not None
    if name in _LISTS and not is_list and not is_whole_template:
        return spot.at(2).wrong(value, f"`{name}` wants a list of values; it is {describe(value)}")
    if is_list and name not in _LISTS | _EITHER:
        return spot.at(2).wrong(value, f"`{name}` wants one value; `in` takes a list")
    if isinstance(value.value, dict):
        return spot.at(2).wrong(value, "must be a value that Odoo can compare; it is a mapping")
    return None


def frozen(value: Json) -> Any:
    """Return *value* with tuples for its lists, all the way down."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value
