"""Creates that can be repeated: ``load`` with an external id, whose values travel as the cells of a CSV file.

What Odoo makes of a cell is in its ``addons/base/models/ir_fields.py``: every cell is text; an empty one is False and
never the default; a many2one is a database id in the column ``field/.id``, a many2many several with commas between;
the first line of a one2many stands in the record's own row, further ones in rows that are empty but for the lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Json
from entrepot.connectors.odoo.values import NUMBER_TYPES
from entrepot.connectors.odoo.writing import Assigned, Draft, Key, Line, settled

MODULE = "__gw__"
# With these a repeated load changes nothing and answers with the id of the first one (FACTS of Odoo 14, ir_model).
# Without tz the cells of datetimes would be read in the time zone of the gateway's account.
CONTEXT: Mapping[str, Json] = {"mode": "update", "noupdate": True, "tz": "UTC"}
_RELATIONS = frozenset({"many2one", "many2many"})


def external_id(model: str, transaction_id: str) -> str:
    """Return the external id of the record of *model* that *transaction_id* makes.

    It names the model: the same id used for two models would make the second ``load`` overwrite a stranger's record.
    """
    return f"{MODULE}.{model.replace('.', '_')}_{transaction_id}"


def check_lines(draft: Draft) -> None:
    """Make mistakes of lines that ``load`` would get wrong: empty ones, and fields that only some of them have."""
    for assigned in draft.values.values():
        if not assigned.field.fields:
            continue
        columns = {name: other.field.public for line in assigned.value for name, other in line.values.items()}
        for number, line in enumerate(assigned.value, start=1):
            missing = sorted(columns[name] for name in columns.keys() - line.values.keys())
            if missing:
                fault = f"line {number} lacks {', '.join(missing)}, which other lines of it have"
                draft.mistakes.append(Mistake(fault, line.pointer))
            elif not any(_is_something(other) for other in line.values.values()):
                draft.mistakes.append(Mistake(f"line {number} holds no value", line.pointer))


def rows(values: Mapping[str, Assigned], ids: Mapping[Key, int], external: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of ``load`` for one record with the external id *external*.

    *values* passed ``check_lines``: all lines of a one2many have the same fields.
    """
    columns = ["id"]
    first = [external]
    tables: list[list[list[str]]] = []
    for name, assigned in values.items():
        if assigned.field.fields and assigned.value:
            inner = list(assigned.value[0].values)
            columns += [f"{name}/{_column(assigned.value[0].values[key], key)}" for key in inner]
            tables.append([_line_cells(line, inner, ids) for line in assigned.value])
        elif assigned.field.fields:
            columns.append(name)
            tables.append([[""]])
        else:
            columns.append(_column(assigned, name))
            tables.append([[cell(assigned, ids)]])
    height = max((len(table) for table in tables), default=1)
    body = [[item for table in tables for item in _row_of(table, number)] for number in range(height)]
    return columns, [first + body[0] if body else first, *(["", *row] for row in body[1:])]


def cell(assigned: Assigned, ids: Mapping[Key, int]) -> str:
    """Return the cell for *assigned*; empty means False."""
    value = settled(assigned.value, ids)
    if isinstance(value, bool):
        # An empty cell is False too, but a line with nothing but false would vanish.
        return "1" if value else ("0" if assigned.field.type == "boolean" else "")
    if isinstance(value, list):
        return ",".join(map(str, value))
    if assigned.field.type in NUMBER_TYPES and isinstance(value, int | float):
        return repr(float(value))
    return str(value)


def _line_cells(line: Line, names: Sequence[str], ids: Mapping[Key, int]) -> list[str]:
    return [cell(line.values[name], ids) for name in names]


def _row_of(table: Sequence[Sequence[str]], number: int) -> Sequence[str]:
    return table[number] if number < len(table) else [""] * len(table[0])


def _column(assigned: Assigned, name: str) -> str:
    by_id = len(assigned.field.source) == 2 or assigned.field.type in _RELATIONS
    return f"{name}/.id" if by_id else name


def _is_something(assigned: Assigned) -> bool:
    value = assigned.value
    if isinstance(value, bool):
        return value or assigned.field.type == "boolean"
    return isinstance(value, int | float | Key) or bool(value)
