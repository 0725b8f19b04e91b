"""Odoo domains: those of a catalog with their templates filled in, and those that a list query stands for.

A template fills in values only, never field names or operators, and text of a partner never becomes part of a domain's
structure: Odoo gets it as a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Domain, Field, Json, ListQuery, ModelMapping
from entrepot.connectors.faults import OutOfReach
from entrepot.connectors.odoo.values import TEXT_TYPES, from_text
from entrepot.errors import UnknownParameter, UpstreamMisconfigured

OPERATORS = frozenset(
    {"=", "!=", "<", "<=", ">", ">=", "=?", "in", "not in", "like", "not like", "ilike", "not ilike", "=like", "=ilike",
     "child_of", "parent_of"}
)  # fmt: skip
_SAID = {"!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
"""How a query string says an operator."""
_LIKES = frozenset({"like", "not like", "ilike", "not ilike", "=like", "=ilike"})
_ARITY = {"&": 2, "|": 2, "!": 1}
_ORDERED = frozenset({"integer", "float", "monetary", "date", "datetime", "char", "many2one_reference"})
_TEMPLATE = re.compile(r"\{([A-Za-z_][\w.-]*)\}", re.ASCII)
_WILDCARDS = re.compile(r"([\\%_])")


def normalized(domain: Domain) -> list[Json]:
    """Return *domain* in prefix form with every ``&`` written out, so that it can be joined to others safely.

    Raises ValueError when it is no domain: an operator without its terms would swallow those that are added.
    """
    terms: list[Json] = []
    expected = 1
    for term in domain:
        if expected == 0:
            terms.insert(0, "&")
            expected = 1
        if isinstance(term, str):
            if term not in _ARITY:
                raise ValueError(f"{term!r} is neither a condition nor one of & | !")
            expected += _ARITY[term] - 1
        else:
            _check_leaf(term)
            expected -= 1
        terms.append(term)
    if terms and expected:
        raise ValueError("an & | or ! lacks a condition")
    return terms


def joined(*domains: Domain) -> list[Json]:
    """Return the domain that is true where all *domains* are."""
    parts = [part for part in map(normalized, domains) if part]
    return ["&"] * (len(parts) - 1) + [term for part in parts for term in part]


def resolved(domain: Domain, values: Mapping[str, Json]) -> list[Json]:
    """Return *domain*, normalized, with its templates filled in from *values* (see ``filled``).

    In the operators with wildcards, what is filled in stands for itself. Raises UpstreamMisconfigured.
    """
    try:
        terms = normalized(domain)
    except ValueError as error:
        raise UpstreamMisconfigured(
            "the catalog binds this endpoint to records by something that is no domain"
        ) from error
    return [
        term if isinstance(term, str) else [term[0], term[1], filled(term[2], values, literal=term[1] in _LIKES)]
        for term in terms
    ]


def filled(value: Json, values: Mapping[str, Json], *, literal: bool = False) -> Json:
    """Return *value* with the templates ``{name}`` in its texts replaced, in lists and mappings too.

    A text that is one template as a whole becomes the value itself, with its type; elsewhere the value is written into
    the text. *literal*: wildcards of what is filled in are escaped. Raises UpstreamMisconfigured for a name without
    value: a record that should be someone's must not become anyone's.
    """
    if isinstance(value, str):
        return _filled_text(value, values, literal=literal)
    if isinstance(value, Mapping):
        return {key: filled(item, values, literal=literal) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(item, values, literal=literal) for item in value]
    return value


def template_names(value: Json) -> set[str]:
    """Return the names of all templates in *value*, which may be a domain."""
    if isinstance(value, str):
        return set(_TEMPLATE.findall(value))
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {name for item in items for name in template_names(item)}


def first_steps(domain: Domain) -> set[str]:
    """Return the fields of the model that *domain* looks at: the first step of each path."""
    return {term[0].split(".")[0] for term in domain if not isinstance(term, str) and isinstance(term[0], str)}


def settled_by(domain: Domain, forced: Mapping[str, Json]) -> bool:
    """Return whether a record that has the values *forced* is surely inside *domain*: all of it are ``=`` on them."""
    return all(
        not isinstance(term, str) and term[1] == "=" and term[0] in forced and forced[term[0]] == term[2]
        for term in domain
    )


def list_domain(mapping: ModelMapping, query: ListQuery) -> list[Json]:
    """Return the domain of the filters and the search text of *query*. Raises UnknownParameter."""
    fields = {field.public: field for field in mapping.fields}
    parts: list[list[Json]] = [_filter(fields, name, operator, value) for name, operator, value in query.filters]
    if query.search is not None:
        parts.append(_search(mapping, fields, query.search))
    return joined(*parts)


def list_order(mapping: ModelMapping, query: ListQuery) -> str:
    """Return Odoo's ``order`` for *query*; ``id`` is the last key, so that pages do not overlap.

    Raises UnknownParameter.
    """
    fields = {field.public: field for field in mapping.fields}
    keys: dict[str, str] = {}
    for name, descending in query.sort:
        if name not in mapping.sort and name != "id":
            raise unknown("sort", f"this endpoint is not sorted by {name!r}")
        field = fields.get(name)
        source = field.source[0] if field is not None else "id"
        keys.setdefault(source, "desc" if descending else "asc")
    keys.setdefault("id", "asc")
    return ", ".join(f"{source} {direction}" for source, direction in keys.items())


def unknown(parameter: str, why: str) -> UnknownParameter:
    """Return the error of a query *parameter* that cannot be."""
    return UnknownParameter(f"{parameter}: {why}", errors=[Mistake(why, parameter)])


def _check_leaf(term: Json) -> None:
    if not isinstance(term, list | tuple) or len(term) != 3 or not isinstance(term[0], str | int):
        raise ValueError(f"{term!r} is no condition: it must be [field, operator, value]")
    if term[0] in {0, 1} and term[1] == "=" and term[2] == 1:
        return
    if not isinstance(term[0], str) or not re.fullmatch(r"[a-z_]\w*(\.[a-z_]\w*)*", term[0], re.ASCII):
        raise ValueError(f"{term[0]!r} is no field of Odoo")
    if not isinstance(term[1], str) or term[1] not in OPERATORS:
        raise ValueError(f"{term[1]!r} is no operator of a domain")


def _filled_text(text: str, values: Mapping[str, Json], *, literal: bool) -> Json:
    def value_of(match: re.Match[str]) -> Json:
        value = values.get(match[1])
        if value is None:
            raise OutOfReach(f"the catalog uses {{{match[1]}}}, which has no value for this caller")
        return _escaped(value) if literal and isinstance(value, str) else value

    whole = _TEMPLATE.fullmatch(text)
    if whole is not None:
        return value_of(whole)
    return _TEMPLATE.sub(lambda match: str(value_of(match)), text)


def _escaped(text: str) -> str:
    return _WILDCARDS.sub(r"\\\1", text)


def _filter(fields: Mapping[str, Field], name: str, operator: str, value: Json) -> list[Json]:
    field = fields.get(name)
    if field is None and name == "id":
        field = Field("id", ("id",), "integer")
    if field is None or field.write_only or field.fields or field.type == "binary":
        raise unknown(name, "there is no such filter")
    parameter = name if operator == "=" else f"{name}[{_SAID.get(operator, operator)}]"
    try:
        return [[".".join(field.source), *_condition(field, operator, value)]]
    except ValueError as error:
        raise unknown(parameter, str(error)) from error


def _condition(field: Field, operator: str, value: Json) -> list[Json]:
    if operator == "like":
        if field.type not in TEXT_TYPES:
            raise ValueError("only texts are compared by like")
        return ["ilike", _escaped(str(_coerced(value, field.type)))]
    if operator == "in":
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ValueError("must be a list")
        return ["in", [_coerced(item, field.type) for item in items]]
    if operator not in {"=", "!="} and (field.type not in _ORDERED or operator not in {"<", "<=", ">", ">="}):
        raise ValueError("this field is not compared that way")
    return [operator, _coerced(value, field.type)]


def _coerced(value: Json, field_type: str) -> Json:
    if value is None:
        return False
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return from_text(text, field_type)


def _search(mapping: ModelMapping, fields: Mapping[str, Field], text: str) -> list[Json]:
    if not mapping.search:
        raise unknown("search", "this endpoint has no search")
    try:
        words = _escaped(str(from_text(text, "char")))
    except ValueError as error:
        raise unknown("search", str(error)) from error
    paths: Sequence[str] = [".".join(fields[name].source) for name in mapping.search]
    return ["|"] * (len(paths) - 1) + [[path, "ilike", words] for path in paths]
