"""Rules about fields whose types are known: what may be a key, sorted or searched, and what Odoo will ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from entrepot.catalog.keys import did_you_mean
from entrepot.catalog.model_types import ModelTypes
from entrepot.catalog.parameters import is_sortable
from entrepot.catalog.schemas import TEXT_TYPES, compile_schema, field_schema
from entrepot.catalog.templates import fields_in
from entrepot.connectors.base import CallMapping, Field, ModelMapping

Wrong = Callable[[tuple[str, ...], str], None]
_KEY_TYPES = frozenset({"char", "text", "integer", "date", "selection"})
_WRITES = frozenset({"create", "update"})


def check_call(mapping: CallMapping, models: ModelTypes, wrong: Wrong) -> None:
    """Report names in a call's ``where``, ``guard`` and ``key`` that its model does not have, as far as known."""
    domains = {"where": mapping.where, "guard": mapping.guard or ()}
    names = {key: [*fields_in(domain)] for key, domain in domains.items()}
    _check_names(mapping.model, names | {"key": [mapping.key]}, models, wrong)


def check_mapping(mapping: ModelMapping, models: ModelTypes, wrong: Wrong) -> Iterator[str]:
    """Report what does not fit the types of *mapping*, and yield warnings about what Odoo may ask for besides."""
    names = {"where": [*fields_in(mapping.where)], "set": [*mapping.set]}
    _check_names(mapping.model, names, models, wrong)
    for field in mapping.fields:
        _check_field(field, ("fields", field.public), wrong)
    _check_uses({field.public: field for field in mapping.fields}, mapping, wrong)
    if _WRITES.intersection(mapping.operations):
        yield from _about_read_only(mapping, models)
    if "create" in mapping.operations:
        yield from _about_required(mapping, models)


def _check_names(model: str, names: dict[str, list[str]], models: ModelTypes, wrong: Wrong) -> None:
    known = models.get(model)
    if known is None:
        return
    for key, fields in names.items():
        for name in fields:
            if name not in known and name != "id":
                wrong((key,), f"{model} has no field `{name}`{did_you_mean(name, known)}")


def _check_field(field: Field, steps: tuple[str, ...], wrong: Wrong) -> None:
    for line in field.fields:
        _check_field(line, (*steps, "fields", line.public), wrong)
    if field.max_length is not None and field.type not in TEXT_TYPES:
        wrong((*steps, "max_length"), f"is for texts; {'.'.join(field.source)} is {field.type}")
        return
    taken = compile_schema(field_schema(field, null=True))
    if field.has_default and not taken.is_valid(field.default):
        wrong((*steps, "default"), f"does not fit a {field.type}: {next(taken.iter_errors(field.default)).message}")
    if field.enum is not None:
        _check_enum(field, steps, wrong)


def _check_enum(field: Field, steps: tuple[str, ...], wrong: Wrong) -> None:
    open_field = Field(field.public, field.source, type=field.type, choices=field.choices)
    taken = compile_schema(field_schema(open_field, null=False))
    for value in field.enum or ():
        if not taken.is_valid(value):
            wrong((*steps, "enum"), f"{value!r} does not fit: {next(taken.iter_errors(value)).message}")


def _check_uses(public: dict[str, Field], mapping: ModelMapping, wrong: Wrong) -> None:
    key = public.get(mapping.key)
    if key is not None and (key.type not in _KEY_TYPES or len(key.source) > 1):
        wrong(
            ("key",),
            f"`{mapping.key}` cannot be the key: only a text, whole number, date or selection of the model can",
        )
    for name in mapping.sort:
        if name in public and not is_sortable(public[name]):
            wrong(("sort",), f"Odoo cannot sort by `{name}`: {'.'.join(public[name].source)} is {public[name].type}")
    for name in mapping.search:
        if public[name].type not in TEXT_TYPES:
            wrong(("search",), f"only texts can be searched; `{name}` is {public[name].type}")


def _about_read_only(mapping: ModelMapping, models: ModelTypes) -> Iterator[str]:
    known = models.get(mapping.model, {})
    for field in mapping.fields:
        if not field.read_only and known.get(field.source[0], {}).get("readonly"):
            yield f"Odoo calls {field.source[0]} read-only and may ignore what is written to `{field.public}`"


def _about_required(mapping: ModelMapping, models: ModelTypes) -> Iterator[str]:
    written = {field.source[0] for field in mapping.fields if not field.read_only} | set(mapping.set)
    lacking = _required(mapping.model, models) - written
    if lacking:
        yield f"a create wants {_listed(lacking)} too; neither mapped nor set, so Odoo must have defaults for them"
    for field in mapping.fields:
        if field.fields and field.relation and not field.read_only:
            parents = {
                name for name, spec in models.get(field.relation, {}).items() if spec.get("relation") == mapping.model
            }
            lines = {line.source[0] for line in field.fields if not line.read_only}
            lacking = _required(field.relation, models) - lines - parents
            if lacking:
                yield f"a line of `{field.public}` wants {_listed(lacking)} too; Odoo must have defaults for them"


def _required(model: str, models: ModelTypes) -> set[str]:
    specs = models.get(model, {})
    return {name for name, spec in specs.items() if spec.get("required") and not spec.get("readonly") and name != "id"}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
