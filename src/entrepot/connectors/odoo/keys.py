"""Natural keys: each belongs to one record of the caller, also when several are made at the same moment.

Odoo keeps no key unique, so a create looks before and after it has made its record. Of two that both see each other
the older stays. A record may be older and appear later, though, after the younger one was looked for in vain: so the
older one waits for the younger to go, and goes itself when it stays. Never do two stay; at worst none does.
"""

from __future__ import annotations

import asyncio
import time

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Json, ModelMapping
from entrepot.connectors.odoo import domains
from entrepot.connectors.odoo.session import Session, key_field
from entrepot.connectors.odoo.writing import Draft, escaped
from entrepot.errors import Conflict, InvalidBody

WAIT_S = 2.0
LOOK_EVERY_S = 0.1
# What must be left of the caller's time to delete a record again.
TO_DELETE_S = 1.0
MAX_SAME = 100


def check_given(mapping: ModelMapping, draft: Draft) -> None:
    """Make a mistake of *draft* when it lacks the key that the new record would be addressed by."""
    field = key_field(mapping)
    if field.source == ("id",) or field.read_only:
        return
    assigned = draft.values.get(field.source[0])
    if assigned is None or assigned.value is False or assigned.value == "":
        draft.mistakes.append(Mistake("must be given: records are addressed by it", f"/{escaped(field.public)}"))


async def holders(session: Session, mapping: ModelMapping, draft: Draft) -> set[int | None]:
    """Return the ids of the caller's records, two at most, that have the key which *draft* gives."""
    leaf = _leaf(mapping, draft)
    return set() if leaf is None else set(await _having(session, leaf, limit=2))


def check_free(mapping: ModelMapping, others: set[int | None]) -> None:
    """Raise Conflict when there are *others* with the key."""
    if others:
        pointer = f"/{escaped(mapping.key)}"
        raise Conflict("another record has this key", errors=[Mistake("another record has it", pointer)])


async def keep_or_delete(session: Session, mapping: ModelMapping, draft: Draft, made: int) -> None:
    """Raise Conflict, and delete the record *made* again, when another one has its key and stays."""
    leaf = _leaf(mapping, draft)
    if leaf is None or await _may_stay(session, leaf, made):
        return
    await session.take_back(made)
    check_free(mapping, {None})


async def _may_stay(session: Session, leaf: list[Json], made: int) -> bool:
    patience_ends = min(time.monotonic() + WAIT_S, session.deadline - TO_DELETE_S)
    while True:
        found = await _having(session, leaf, limit=MAX_SAME)
        # Without the key itself (a repeated request, whose record was changed since) it stands in nobody's way.
        if made not in found or len(found) == 1:
            return True
        if min(found) < made or time.monotonic() >= patience_ends:
            return False
        await asyncio.sleep(LOOK_EVERY_S)


async def _having(session: Session, leaf: list[Json], *, limit: int) -> list[int]:
    rows = await session.search(domains.joined(session.where, [leaf]), ["id"], {"limit": limit, "order": "id"})
    return [row["id"] for row in rows]


def _leaf(mapping: ModelMapping, draft: Draft) -> list[Json] | None:
    field = key_field(mapping)
    assigned = draft.values.get(field.source[0])
    if assigned is None or field.source == ("id",):
        return None
    if assigned.value is False:
        raise InvalidBody("records are addressed by this field", errors=[Mistake("must not be null", assigned.pointer)])
    return [field.source[0], "=", assigned.value]
