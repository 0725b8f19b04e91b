"""What becomes of work that was not finished, or was dead, when the backup was made that the ledger comes from."""

from __future__ import annotations

from sqlalchemy import Connection, and_, case, func, null, select

from entrepot.ledger.states import DEAD, FINISHED, HELD
from entrepot.store.ledger import transactions

_t = transactions.c

STEP = 20_000
"""How many rows are changed at once: PostgreSQL breaks off a statement that takes longer than a writer may wait."""


def hold_unfinished(connection: Connection) -> int:
    """Hold all that is not finished, for an operator to look at; return how much that is.

    A courier may have delivered it since the backup, so whether it was applied is not known. What waits for an operator
    already goes on waiting for the same. Nor is it known of what was dead, which somebody may have replayed since: it
    stays dead, and is not counted.
    """
    waits = and_(_t.state == HELD, _t.reason == "conflict")
    hold = (
        transactions.update()
        .where(_t.state.not_in(FINISHED))
        .values(
            state=HELD,
            reason=case((waits, _t.reason), else_="restore"),
            applied=case((_t.applied == "no", "unknown"), else_=_t.applied),
            due_at=null(),
            lease=null(),
            leased_until=null(),
        )
    )
    doubt = transactions.update().where(_t.state == DEAD, _t.applied == "no").values(applied="unknown")
    first, last = connection.execute(select(func.min(_t.seq), func.max(_t.seq))).one()
    held = 0
    for at in range(first or 0, (last or -1) + 1, STEP):
        here = _t.seq.between(at, at + STEP - 1)
        held += connection.execute(hold.where(here)).rowcount
        connection.execute(doubt.where(here))
    return held
