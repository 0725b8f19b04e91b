"""Updates that are repeated after a try whose outcome is not known: what is noted, and how the outcome is found out.

Odoo sets ``write_date`` of a record at every ``write``, also of the values that it has already (``odoo/models.py``,
``write``). It is told to the second. What was written in the second of the change before it shows by lines that are new
or gone, and by values: the record lacked some of them and has them all. Values that Odoo makes others of do not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from entrepot.connectors.base import Json
from entrepot.connectors.odoo.reading import Row
from entrepot.connectors.odoo.session import Session
from entrepot.connectors.odoo.values import NUMBER_TYPES
from entrepot.connectors.odoo.writing import Assigned, Key, Line, settled

NOTED = "write_date"
LACKED = "lacked"
# Odoo rounds amounts to the digits of their field; so many of them count at least.
LEAST_DIGITS = 2

Lines = Mapping[str, Sequence[int]]


def noted(values: Mapping[str, Assigned], forced: Iterable[str]) -> list[str]:
    """Return what to read of the record beside its lines, for an update with *values*, and with those of *forced*."""
    plain = [name for name, assigned in values.items() if not assigned.field.fields and not _is_large(assigned)]
    return [NOTED, *plain, *(name for name in forced if name not in values)]


async def facts(
    session: Session, values: Mapping[str, Assigned], ids: Mapping[Key, int], row: Row, lines: Lines
) -> dict[str, Json]:
    """Return what is noted of the record of *row*, with its present *lines*, before it is changed."""
    known = {"id": row["id"], NOTED: row[NOTED], "lines": {name: list(present) for name, present in lines.items()}}
    small = {name: assigned for name, assigned in values.items() if not _is_large(assigned)}
    return {**known, LACKED: not await _hold(session, small, ids, row, lines, known["lines"])}


def is_touched(memory: Mapping[str, Json], row: Row, lines: Lines) -> bool:
    """Tell whether the record is another one than was noted in *memory*."""
    return row[NOTED] != memory[NOTED] or any(set(ids) != set(memory["lines"][name]) for name, ids in lines.items())


def may_show(memory: Mapping[str, Json], row: Row, lines: Lines) -> bool:
    """Tell whether the values of the record can show that it was changed since the *memory* of it was noted."""
    return bool(memory) and (bool(memory.get(LACKED)) or is_touched(memory, row, lines))


async def hold(
    session: Session, values: Mapping[str, Assigned], ids: Mapping[Key, int], row: Row, lines: Lines
) -> bool:
    """Tell whether the record of *row*, with its present *lines*, has all the *values* of an update.

    New lines are those that were not there before the first try, in the order of their ids.
    """
    return await _hold(session, values, ids, row, lines, session.memory["lines"])


async def _hold(
    session: Session,
    values: Mapping[str, Assigned],
    ids: Mapping[Key, int],
    row: Row,
    lines: Lines,
    were_there: Lines,
) -> bool:
    plain = {name: assigned for name, assigned in values.items() if name not in lines}
    untold = [name for name in plain if name not in row]
    if not _all_hold({name: plain[name] for name in plain if name in row}, [row], ids):
        return False
    if untold and not _all_hold(
        {name: plain[name] for name in untold}, await _read(session, "", [row["id"]], untold), ids
    ):
        return False
    for name, present in lines.items():
        entry = values[name].field
        matched = _matched(values[name].value, present, set(were_there[name]))
        if matched is None:
            return False
        names = sorted({name for line in matched.values() for name in line.values})
        rows = {row["id"]: row for row in await _read(session, entry.relation or "", list(matched), names)}
        if not all(_all_hold(line.values, [rows[id_]] if id_ in rows else [], ids) for id_, line in matched.items()):
            return False
    return True


def _is_large(assigned: Assigned) -> bool:
    return assigned.field.type == "binary"


def _matched(lines: Sequence[Line], present: Sequence[int], was_there: set[int]) -> dict[int, Line] | None:
    """Return the *lines* by the ids they have in the record, None when they are not the *present* ones."""
    kept = {line.id: line for line in lines if line.id is not None}
    new = [line for line in lines if line.id is None]
    made = sorted(set(present) - was_there)
    if set(present) & was_there != set(kept) or len(made) != len(new):
        return None
    return kept | dict(zip(made, new, strict=True))


async def _read(session: Session, model: str, ids: list[int], names: list[str]) -> list[Row]:
    return await session.ask(model, ids, names) if ids and names else [{"id": id_} for id_ in ids]


def _all_hold(values: Mapping[str, Assigned], rows: Sequence[Row], ids: Mapping[Key, int]) -> bool:
    return len(rows) == 1 and all(_holds(assigned, rows[0][name], ids) for name, assigned in values.items())


def _holds(assigned: Assigned, stored: Json, ids: Mapping[Key, int]) -> bool:
    wanted = settled(assigned.value, ids)
    if isinstance(wanted, list):
        return sorted(wanted) == sorted(stored)
    if isinstance(stored, list):
        stored = stored[0] if stored else False
    if not wanted or not stored:
        return bool(wanted) == bool(stored)
    if assigned.field.type in NUMBER_TYPES:
        digits = len(repr(float(stored)).partition(".")[2])
        return round(float(wanted), max(LEAST_DIGITS, digits)) == float(stored)
    return bool(wanted == stored)
