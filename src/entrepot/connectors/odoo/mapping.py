"""What in a mapping of the catalog cannot work, found without asking Odoo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from entrepot.connectors.base import CallMapping, Domain, Field, ModelMapping
from entrepot.connectors.odoo.domains import first_steps, normalized
from entrepot.connectors.odoo.reading import shown_fields
from entrepot.connectors.odoo.values import MANY_TYPES

FIELD_TYPES = frozenset(
    {"char", "text", "html", "integer", "float", "monetary", "boolean", "date", "datetime", "selection", "many2one",
     "one2many", "many2many", "binary", "reference", "many2one_reference"}
)  # fmt: skip
_UNSORTED = MANY_TYPES | {"binary", "html"}


def mapping_mistakes(mapping: ModelMapping | CallMapping, *, has_id: bool = True) -> list[str]:
    """Return a sentence for each thing in *mapping* that the connector cannot do, or that would not be safe.

    *has_id*: the path of a call holds ``{id}``. A writable field that ``where`` looks at is a mistake unless ``set``
    forces it: a partner could write a record out of its own reach, or into another's.
    """
    mistakes = _domain_mistakes(mapping.where)
    if isinstance(mapping, CallMapping):
        if mapping.where and not has_id:
            mistakes.append("where needs {id} in the path: without a record there is nothing to bind")
        return mistakes
    mistakes += _field_mistakes(mapping.fields, "")
    return [*mistakes, *_write_mistakes(mapping), *_name_mistakes(mapping)]


def _domain_mistakes(where: Domain) -> list[str]:
    try:
        normalized(where)
    except ValueError as error:
        return [f"where: {error}"]
    return []


def _field_mistakes(fields: Sequence[Field], inside: str) -> list[str]:
    mistakes = [f"{inside}{field.public}: {fault}" for field in fields for fault in _faults_of(field, inside)]
    written: dict[str, str] = {}
    for field in fields:
        if field.read_only or field.source == ("id",):
            continue
        other = written.setdefault(field.source[0], field.public)
        if other != field.public:
            mistakes.append(f"{inside}{field.public}: {other} writes {field.source[0]} too; make one of them read_only")
    return mistakes + [
        mistake
        for field in fields
        if field.fields
        for mistake in _field_mistakes(field.fields, f"{inside}{field.public}.")
    ]


def _faults_of(field: Field, inside: str) -> Iterator[str]:
    if field.type not in FIELD_TYPES:
        yield f"fields of type {field.type} cannot be mapped"
    if len(field.source) > 2:
        yield "a path has at most two steps: a relation and its key"
    if (len(field.source) == 2 or field.fields) and not field.relation:
        yield f"{field.source[0]} is no relation"
    if (
        len(field.source) == 2
        and not field.read_only
        and field.type in MANY_TYPES | {"many2one", "binary", "reference"}
    ):
        yield f"a {field.type} is no key to write a relation by; make the field read_only"
    if field.fields and inside and not field.read_only:
        yield "lines within lines cannot be written; make the field read_only"
    if field.fields and field.type not in MANY_TYPES:
        yield "fields within a field are for the lines of a one2many"
    elif field.fields and field.type != "one2many" and not field.read_only:
        yield "only the lines of a one2many are written; make the field read_only"
    if field.type == "one2many" and not field.fields and len(field.source) == 1 and not field.read_only:
        yield "a one2many is written by its lines only: give it fields, or make it read_only"


def _write_mistakes(mapping: ModelMapping) -> Iterator[str]:
    if not {"create", "update"} & set(mapping.operations):
        return
    try:
        bound = first_steps(normalized(mapping.where))
    except ValueError:
        return
    for field in mapping.fields:
        if field.source[0] in bound and not field.read_only and field.source[0] not in mapping.set:
            yield f"{field.public}: where looks at {field.source[0]}; make the field read_only or force it by set"
    if "id" in mapping.set:
        yield "set: id cannot be forced"


def _name_mistakes(mapping: ModelMapping) -> Iterator[str]:
    fields = {field.public: field for field in shown_fields(mapping)}
    key = fields.get(mapping.key)
    if key is None:
        yield f"key: there is no field {mapping.key!r}"
    elif len(key.source) > 1 or key.type not in {"char", "text", "integer", "date", "selection"} or key.write_only:
        yield f"key: {mapping.key} must be a plain text, whole number, date or selection of the model itself"
    for name in mapping.search:
        if name not in fields or fields[name].type not in {"char", "text", "html"} or fields[name].write_only:
            yield f"search: {name} is no text field of this endpoint"
    for name in mapping.sort:
        if name == "id" and name not in fields:
            continue
        if (
            name not in fields
            or fields[name].write_only
            or fields[name].type in _UNSORTED
            or len(fields[name].source) > 1
        ):
            yield f"sort: records are not sorted by {name}"
