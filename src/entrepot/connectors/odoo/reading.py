"""Records as partners see them, made of what Odoo reads: null for false, relations by natural key, lines in place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from entrepot.connectors.base import Field, Json, ModelMapping
from entrepot.connectors.odoo.domains import unknown
from entrepot.connectors.odoo.values import to_json
from entrepot.errors import UpstreamBadAnswer

Row = Mapping[str, Json]
Record = dict[str, Json]
Ask = Callable[[str, list[int], list[str]], Awaitable[list[Row]]]
ID_FIELD = Field("id", ("id",), "integer", read_only=True)


@dataclass(frozen=True, slots=True)
class Related:
    """A public field that is shown by a natural key: *key* of the records of *model* that *relation* names."""

    public: str
    relation: str
    model: str
    key: str
    convert: Callable[[Json], Json]


@dataclass(frozen=True, slots=True)
class Lines:
    """A public field that holds the records of a one2many: those of *model* that *relation* names."""

    public: str
    relation: str
    model: str
    reader: Reader


class Reader:
    """Which fields of Odoo make the public *fields*, and how. Immutable; made once per mapping."""

    __slots__ = ("_blank", "_keys", "_lines", "_related", "_simple", "names")

    def __init__(self, fields: Iterable[Field]) -> None:
        shown = [field for field in fields if not field.write_only]
        self._blank = dict.fromkeys([field.public for field in shown])
        self._simple = [
            (field.public, field.source[0], to_json(field.type))
            for field in shown
            if len(field.source) == 1 and not field.fields
        ]
        self._related = [
            Related(field.public, field.source[0], field.relation or "", field.source[1], to_json(field.type))
            for field in shown
            if len(field.source) == 2
        ]
        self._lines = [
            Lines(field.public, field.source[0], field.relation or "", Reader(field.fields))
            for field in shown
            if field.fields
        ]
        self.names = sorted({field.source[0] for field in shown} | {"id"})
        self._keys: dict[str, list[Related]] = {}
        for related in self._related:
            self._keys.setdefault(related.model, []).append(related)

    async def records(self, rows: Sequence[Row], ask: Ask) -> list[Record]:
        """Return the public record of each of *rows*; *ask* reads ``(model, ids, fields)`` for relations and lines.

        One more read for each comodel and for each one2many, however many rows there are.
        """
        try:
            records = [self._flat(row) for row in rows]
            await self._add_keys(records, rows, ask)
            for lines in self._lines:
                await _add_lines(lines, records, rows, ask)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise UpstreamBadAnswer("the upstream's records are not of the shape that its fields have") from error
        return records

    def _flat(self, row: Row) -> Record:
        record = self._blank.copy()
        for public, source, convert in self._simple:
            record[public] = convert(row[source])
        return record

    async def _add_keys(self, records: list[Record], rows: Sequence[Row], ask: Ask) -> None:
        for model, relations in self._keys.items():
            wanted = sorted({id_ for row in rows for related in relations for id_ in _ids(row[related.relation])})
            found = await ask(model, wanted, sorted({related.key for related in relations})) if wanted else []
            by_id = {row["id"]: row for row in found}
            for record, row in zip(records, rows, strict=True):
                for related in relations:
                    record[related.public] = _key_of(row[related.relation], related, by_id)


def shown_fields(mapping: ModelMapping) -> tuple[Field, ...]:
    """Return the fields of *mapping*, with ``id`` in front when it is what records are addressed by."""
    if mapping.key != "id" or any(field.public == "id" for field in mapping.fields):
        return mapping.fields
    return (ID_FIELD, *mapping.fields)


def list_fields(mapping: ModelMapping, names: Sequence[str] | None) -> list[Field]:
    """Return the fields that a list shows: those of *names*, else all but binaries. Raises UnknownParameter."""
    fields = shown_fields(mapping)
    if names is None:
        return [field for field in fields if field.type != "binary"]
    known = {field.public: field for field in fields if not field.write_only}
    for name in names:
        if name not in known:
            raise unknown("fields", f"there is no field {name!r}")
    return [known[name] for name in dict.fromkeys(names)]


async def _add_lines(lines: Lines, records: list[Record], rows: Sequence[Row], ask: Ask) -> None:
    wanted = [id_ for row in rows for id_ in row[lines.relation]]
    found = await ask(lines.model, wanted, lines.reader.names) if wanted else []
    shaped = await lines.reader.records(found, ask)
    by_id = {row["id"]: record for row, record in zip(found, shaped, strict=True)}
    for record, row in zip(records, rows, strict=True):
        # A line that was deleted between the two reads is simply no line any more.
        record[lines.public] = [by_id[id_] for id_ in row[lines.relation] if id_ in by_id]


def _is_many(value: Json) -> bool:
    """Return whether *value* is a many2many, a list of ids; a many2one is False or ``[id, name]``."""
    return isinstance(value, list) and not (len(value) == 2 and isinstance(value[1], str))


def _ids(value: Json) -> list[int]:
    if _is_many(value):
        return list(value)
    return [value[0]] if value else []


def _key_of(value: Json, related: Related, by_id: Mapping[int, Row]) -> Json:
    keys = [related.convert(by_id[id_][related.key]) for id_ in _ids(value) if id_ in by_id]
    if _is_many(value):
        return keys
    return keys[0] if keys else None
