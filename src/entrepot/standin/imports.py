"""``load``, Odoo's import: rows of text with external ids, all of them or none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from entrepot.standin.faults import OdooError
from entrepot.standin.models import MODELS, Field, Json, Model
from entrepot.standin.records import Records
from entrepot.standin.values import to_column

_TRUE = ("1", "true", "yes")
_FALSE = ("", "0", "false", "no")
_KINDS = {"float": "a number", "monetary": "a number", "integer": "an integer", "date": "a valid date"}
_MANDATORY = re.compile(r"mandatory field is not set.*Model: .+ \((\S+)\), Field: (.+) \((\w+)\)$", re.DOTALL)


class _CellError(Exception):
    """A cell that does not fit; the message is Odoo's."""


@dataclass(slots=True)
class _Import:
    """One call of ``load``: the records, its columns as paths, and what it has to say."""

    records: Records
    paths: list[list[str]]
    rows: Sequence[Sequence[Json]]
    messages: list[dict[str, Json]] = field(default_factory=list)

    def say(self, first: int, last: int, kind: str, name: str, text: str) -> None:
        """Note a message about the rows *first* to *last*."""
        where = {"rows": {"from": first, "to": last}, "type": kind, "record": first, "field": name}
        self.messages.append({**where, "message": text})

    def undo_if_wrong(self) -> None:
        """Raise when any message is an error: one bad row undoes all."""
        if any(message["type"] == "error" for message in self.messages):
            raise _CellError


def load(records: Records, columns: Sequence[Json], rows: Sequence[Sequence[Json]]) -> dict[str, Json]:
    """Import *rows*; the ids of the records, or false and what is wrong. An unknown column raises KeyError."""
    work = _Import(records, [_path(records.model, str(column)) for column in columns], rows)
    ids: list[int] = []
    try:
        with records.database.savepoint():
            for first, last in _groups(records.model, work):
                ids.append(_load_record(work, first, last))
            work.undo_if_wrong()
    except _CellError:
        return {"ids": False, "messages": work.messages, "nextrow": 0}
    return {"ids": ids, "messages": work.messages, "nextrow": 0}


def _path(model: Model, column: str) -> list[str]:
    path = column.split("/")
    for step in path:
        if step in ("id", ".id"):
            break
        known = model.fields.get(step)
        if known is None:
            raise OdooError("builtins.KeyError", step)
        model = MODELS.get(known.relation, model)
    return path


def _groups(model: Model, work: _Import) -> list[tuple[int, int]]:
    """Return first and last row of each record: a row without values of its own goes on with the lines above."""
    own = [at for at, path in enumerate(work.paths) if path[0] == ".id" or model.fields[path[0]].type != "one2many"]
    starts = [at for at, row in enumerate(work.rows) if at == 0 or any(row[column] for column in own)]
    return [(start, end - 1) for start, end in itertools.pairwise([*starts, len(work.rows)])]


def _load_record(work: _Import, first: int, last: int) -> int:
    external_id = str(work.rows[first][work.paths.index(["id"])] or "") if ["id"] in work.paths else ""
    try:
        return _store(work.records, external_id, _record_values(work, first, last))
    except OdooError as fault:
        if fault.name == "builtins.AttributeError":
            raise
        name, text = _required(work.records.model, str(fault))
        work.say(first, last, "error", name, text)
    except _CellError as refused:
        work.say(first, last, "error", refused.args[1], refused.args[0])
    return 0


def _required(model: Model, text: str) -> tuple[str, str]:
    """Return the field and the words for a missing value, as ``load`` puts them; other texts stay."""
    match = _MANDATORY.search(text)
    if match is None:
        return "", text
    owner, label, name = match.groups()
    if owner != model.name:
        return "", f"Missing required value for the field '{name}'"
    return name, f"Missing required value for the field '{label}' ({name})"


def _record_values(work: _Import, first: int, last: int) -> dict[str, Json]:
    model, values = work.records.model, {}
    for at, path in enumerate(work.paths):
        if path[0] in ("id", ".id"):
            continue
        known = model.fields[path[0]]
        if known.type != "one2many":
            values[known.name] = _cell(work, model, path, work.rows[first][at], (first, last, known.label))
        elif len(path) == 1 and not work.rows[first][at]:
            values[known.name] = []
        elif known.name not in values:
            values[known.name] = [_line(work, known, row, (first, last)) for row in range(first, last + 1)]
    return values


def _line(work: _Import, lines: Field, row: int, rows: tuple[int, int]) -> list[Json]:
    """Return the command that makes the line that stands in *row*."""
    model, values = MODELS[lines.relation], {}
    for at, path in enumerate(work.paths):
        if path[0] != lines.name:
            continue
        if path[1] not in model.fields:
            raise OdooError("builtins.NotImplementedError", "The stand-in does not give external ids to lines")
        label = f"{lines.label}/{model.fields[path[1]].label}"
        try:
            values[path[1]] = _cell(work, model, path[1:], work.rows[row][at], (*rows, label))
        except _CellError as refused:
            raise _CellError(refused.args[0], lines.name) from refused
    return [0, False, values]


def _cell(work: _Import, model: Model, path: list[str], cell: Json, place: tuple[int, int, str]) -> Json:
    known, (first, last, label) = model.fields[path[0]], place
    if known.type == "boolean":
        if not isinstance(cell, str):
            raise OdooError("builtins.AttributeError", f"{type(cell).__name__!r} object has no attribute 'lower'")
        if cell.lower() not in (*_TRUE, *_FALSE):
            text = f"Unknown value '{cell}' for boolean field '{label}', assuming 'yes'"
            work.say(first, last, "warning", known.name, text)
        return cell.lower() not in _FALSE
    if cell is None or cell is False or cell == "":
        return False
    if known.type == "many2one":
        return _linked(work.records, known, path[1] if len(path) > 1 else "", cell, label)
    if known.type == "selection":
        return _selected(known, cell, label)
    return _number_or_text(model, known, cell, label)


def _linked(records: Records, known: Field, by: str, cell: Json, label: str) -> int:
    others = records.of(known.relation)
    if by == "id":
        found, what = external(records, str(cell)), f"external id '{cell}'"
        ids = [found[1]] if found else []
    elif by == ".id":
        if not str(cell).isdigit():
            raise _CellError(f"Invalid database id '{cell}' for the field '{label}'", known.name)
        ids, what = others.search([["id", "=", int(cell)]]), f"database id '{cell}'"
    else:
        ids, what = others.search([["display_name", "=", str(cell)]]), f"name '{cell}'"
    if not ids:
        raise _CellError(f"No matching record found for {what} in field '{label}'", known.name)
    return ids[0]


def _selected(known: Field, cell: Json, label: str) -> str:
    for value, text in known.selection:
        if cell in (value, text):
            return value
    raise _CellError(f"Value '{cell}' not found in selection field '{label}'", known.name)


def _number_or_text(model: Model, known: Field, cell: Json, label: str) -> Json:
    try:
        return to_column(model, known, cell)
    except OdooError as fault:
        if known.type in ("char", "text"):
            raise
        kind = _KINDS.get(known.type, "a valid datetime")
        raise _CellError(f"'{cell}' does not seem to be {kind} for field '{label}'", known.name) from fault


def external(records: Records, name: str) -> tuple[str, int] | None:
    """Return model and record that the external id *name* (``module.name``) stands for, if any."""
    sql = "SELECT model, res_id FROM ir_model_data WHERE complete_name = ?"
    rows = records.database.rows(sql, [name])
    return (str(rows[0][0]), int(rows[0][1])) if rows else None


def _store(records: Records, external_id: str, values: dict[str, Json]) -> int:
    """Make or change the record of *external_id*; context ``mode`` update with ``noupdate`` leaves it as it is."""
    full = external_id if "." in external_id else f"__import__.{external_id}"
    found = external(records, full) if external_id else None
    if found is not None and found[0] == records.model.name:
        if not (records.context.get("mode") == "update" and records.context.get("noupdate")):
            records.write([found[1]], values)
        return found[1]
    record_id = records.create(values)
    if external_id:
        module, _, name = full.partition(".")
        rows = records.of("ir.model.data")
        rows.unlink(rows.search([["complete_name", "=", full]]))
        rows.create({"module": module, "name": name, "model": records.model.name, "res_id": record_id})
    return record_id
