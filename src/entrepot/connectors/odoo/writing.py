"""What a partner sends, made ready for Odoo: types converted, natural keys looked up, every mistake with its pointer.

A body becomes a draft first, in which relations may still stand by their natural keys; one ``search_read`` per comodel
turns the keys into ids; then a draft becomes the values of ``write`` (here) or the rows of ``load`` (``load.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Field, Json
from entrepot.connectors.odoo.values import NUMBER_TYPES, TEXT_TYPES, BadValue, to_odoo
from entrepot.errors import InvalidBody

MAX_LINES = 10_000
MAX_MISTAKES = 100


@dataclass(frozen=True, slots=True)
class Key:
    """A record of *model* by its natural key: the one whose *field* is *value*."""

    model: str
    field: str
    value: Json


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a one2many: *id* of the line it changes, or None for a new one."""

    pointer: str
    id: int | None
    values: Mapping[str, Assigned]


@dataclass(frozen=True, slots=True)
class Assigned:
    """The *value* for one field in Odoo's terms; a relation may be a Key or hold Keys, lines are a list of Line."""

    field: Field
    value: Json
    pointer: str


@dataclass(slots=True)
class Draft:
    """A body on its way to Odoo.

    *values* are by Odoo's field name; *keys* are those to look up, with their pointers.
    """

    creating: bool
    values: dict[str, Assigned] = field(default_factory=dict)
    keys: dict[Key, list[str]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def check(self) -> None:
        """Raise InvalidBody with the mistakes found so far, the first 100 of them, if there is one."""
        if self.mistakes:
            raise InvalidBody(_sentence(self.mistakes), errors=self.mistakes[:MAX_MISTAKES])


def drafted(fields: Sequence[Field], body: Mapping[str, Json], *, creating: bool) -> Draft:
    """Return *body* as a draft. When *creating*, missing fields take their default.

    Read-only fields are passed over, so that a partner may send back what was read. Mistakes are in the draft.
    """
    draft = Draft(creating)
    draft.values = _take(draft, fields, body, "", new=creating)
    return draft


def forced(types: Mapping[str, Field], values: Mapping[str, Json]) -> dict[str, Assigned]:
    """Return the *values* of ``set`` as assigned; *types* has a field for each name. Raises ValueError."""
    return {name: Assigned(types[name], _forced_value(types[name], value), "") for name, value in values.items()}


def key_domain(keys: Sequence[Key]) -> list[Json]:
    """Return the domain of the records that *keys*, all of one model and field, name."""
    return [[keys[0].field, "in", [key.value for key in keys]]]


def ids_of(keys: Sequence[Key], rows: Sequence[Mapping[str, Json]], draft: Draft) -> dict[Key, int]:
    """Return the id of each of *keys* (of one model and field) in *rows*.

    An unknown or ambiguous key becomes a mistake of *draft*.
    """
    field_name = keys[0].field
    ids: dict[Key, int] = {}
    by_value: dict[Json, list[int]] = {}
    for row in rows:
        by_value.setdefault(row[field_name], []).append(row["id"])
    for key in keys:
        found = by_value.get(key.value, [])
        if len(found) == 1:
            ids[key] = found[0]
            continue
        fault = "there is no record with this key" if not found else "several records have this key"
        draft.mistakes += [Mistake(fault, pointer) for pointer in draft.keys[key]]
    return ids


def written(
    values: Mapping[str, Assigned], ids: Mapping[Key, int], lines: Mapping[str, Sequence[int]]
) -> dict[str, Json]:
    """Return the values of ``write``. *lines* are the present line ids by field: a list of lines replaces them all.

    A line with an id is changed, one without is made, and a present one that is not in the list is deleted.
    """
    return {name: _command(assigned, ids, lines.get(name, ())) for name, assigned in values.items()}


def check_lines(draft: Draft, lines: Mapping[str, Sequence[int]]) -> None:
    """Make a mistake of each line id that is not among the present *lines* of the record, or is there twice."""
    for name, assigned in draft.values.items():
        left = set(lines.get(name, ()))
        for line in assigned.value if assigned.field.fields else ():
            if line.id is None:
                continue
            if line.id not in left:
                draft.mistakes.append(Mistake("the record has no such line, or it is given twice", line.pointer))
            left.discard(line.id)


def emptied(model: str, values: Mapping[str, Assigned]) -> Iterator[tuple[str, str, str]]:
    """Yield model, name and pointer of each field of *values*, and of their lines, that is given no value."""
    for name, assigned in values.items():
        entry = assigned.field
        if entry.fields:
            for line in assigned.value:
                yield from emptied(entry.relation or "", line.values)
        elif assigned.value == "" or (assigned.value is False and _can_be_empty(entry)):
            yield model, name, assigned.pointer


def related(values: Mapping[str, Assigned]) -> Iterator[tuple[str, list[int], str]]:
    """Yield comodel, ids and pointer of each relation in *values*, and in their lines, that is given by ids."""
    for assigned in values.values():
        entry = assigned.field
        if entry.fields:
            for line in assigned.value:
                yield from related(line.values)
        elif assigned.pointer and len(entry.source) == 1 and entry.relation and assigned.value:
            ids = assigned.value if isinstance(assigned.value, list) else [assigned.value]
            yield entry.relation, ids, assigned.pointer


def settled(value: Json, ids: Mapping[Key, int]) -> Json:
    """Return *value* with ids for its Keys."""
    if isinstance(value, Key):
        return ids[value]
    if isinstance(value, list):
        return [ids[item] if isinstance(item, Key) else item for item in value]
    return value


def escaped(name: str) -> str:
    """Return *name* as a token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _can_be_empty(entry: Field) -> bool:
    # Of a number Odoo makes 0 and of a boolean false, which satisfies it.
    return len(entry.source) == 2 or entry.type not in NUMBER_TYPES | {"integer", "boolean"}


def _sentence(mistakes: Sequence[Mistake]) -> str:
    first = mistakes[0]
    more = f", and {len(mistakes) - 1} more" if len(mistakes) > 1 else ""
    return f"{first.path or 'the body'}: {first.message}{more}"


def _take(
    draft: Draft, fields: Sequence[Field], body: Mapping[str, Json], pointer: str, *, new: bool
) -> dict[str, Assigned]:
    known = {entry.public: entry for entry in fields}
    draft.mistakes += [
        Mistake("there is no such field", f"{pointer}/{escaped(name)}") for name in body if name not in known
    ]
    values: dict[str, Assigned] = {}
    for entry in fields:
        if entry.read_only or entry.source == ("id",):
            continue
        here = f"{pointer}/{escaped(entry.public)}"
        if entry.public in body:
            value = body[entry.public]
        elif new and entry.has_default:
            value = entry.default
        else:
            continue
        values[entry.source[0]] = Assigned(entry, _converted(draft, entry, value, here), here)
    return values


def _converted(draft: Draft, entry: Field, value: Json, pointer: str) -> Json:
    try:
        if entry.fields:
            return _lines(draft, entry, value, pointer)
        if len(entry.source) == 2:
            return _keyed(draft, entry, value, pointer)
        return _storable(to_odoo(value, entry.type), entry, creating=draft.creating)
    except BadValue as error:
        draft.mistakes.append(Mistake(str(error), pointer))
        return [] if entry.fields else False


def _storable(value: Json, entry: Field, *, creating: bool) -> Json:
    # Odoo's load takes an empty cell for "no value", so an empty text would come back as null.
    if creating and value == "" and entry.type in TEXT_TYPES:
        raise BadValue("must not be an empty text; null stands for no value")
    return value


def _keyed(draft: Draft, entry: Field, value: Json, pointer: str) -> Json:
    if value is None:
        return False
    if not isinstance(value, list):
        return _key(draft, entry, value, pointer)
    return [_key(draft, entry, item, f"{pointer}/{index}") for index, item in enumerate(value)]


def _key(draft: Draft, entry: Field, value: Json, pointer: str) -> Json:
    if value is None or value == "" or isinstance(value, dict | list):
        raise BadValue("must be the key of a record")
    key = Key(entry.relation or "", entry.source[1], to_odoo(value, entry.type))
    draft.keys.setdefault(key, []).append(pointer)
    return key


def _lines(draft: Draft, entry: Field, value: Json, pointer: str) -> list[Line]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadValue("must be a list of lines")
    if len(value) > MAX_LINES:
        raise BadValue(f"must have at most {MAX_LINES} lines")
    by_id = next((inner.public for inner in entry.fields if inner.source == ("id",)), None)
    lines = []
    for index, item in enumerate(value):
        here = f"{pointer}/{index}"
        if not isinstance(item, dict):
            draft.mistakes.append(Mistake("must be an object", here))
            continue
        line_id = None if draft.creating or by_id is None else item.get(by_id)
        if line_id is not None and (not isinstance(line_id, int) or isinstance(line_id, bool)):
            draft.mistakes.append(Mistake("must be the id of a line", f"{here}/{escaped(by_id or '')}"))
            continue
        lines.append(Line(here, line_id, _take(draft, entry.fields, item, here, new=line_id is None)))
    return lines


def _forced_value(entry: Field, value: Json) -> Json:
    """Values of ``set`` are in Odoo's terms already, but for ids that a template gave as text."""
    if entry.type == "many2many":
        return [int(item) for item in value]
    if entry.type in {"many2one", "integer"} and isinstance(value, str):
        return int(value)
    return False if value is None else value


def _command(assigned: Assigned, ids: Mapping[Key, int], present: Sequence[int]) -> Json:
    if assigned.field.fields:
        kept = {line.id for line in assigned.value}
        changes: list[Json] = [[2, line_id, False] for line_id in present if line_id not in kept]
        for line in assigned.value:
            values = written(line.values, ids, {})
            changes.append([0, 0, values] if line.id is None else [1, line.id, values])
        return changes
    value = settled(assigned.value, ids)
    return [[6, 0, value]] if isinstance(value, list) else value
