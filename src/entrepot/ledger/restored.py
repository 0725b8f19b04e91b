"""What becomes of work that was not finished when the backup was made that the ledger comes from."""

from __future__ import annotations

from sqlalchemy import Connection, and_, case, func, null, select

from entrepot.ledger.states import FINISHED, HELD
from entrepot.store.ledger import transactions

_t = transactions.c

STEP = 20_000
"""How many rows are changed at once: PostgreSQL breaks off a statement that takes longer than a writer may wait."""


def hold_unfinished(connection: Connection) -> int:
    """Hold all that is not finished, for an operator to look at; return how much that is.

    A courier may have delivered it since the backup, so whether it was applied is not known. What waits for an operator
    already goes on waiting for the same.
    """
    waits = and_(_t.state == HELD, _t.reason == "conflict")
    change = (
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
    first, last = connection.execute(select(func.min(_t.seq), func.max(_t.seq))).one()
    steps = range(first or 0, (last or -1) + 1, STEP)
    return sum(connection.execute(change.where(_t.seq.between(at, at + STEP - 1))).rowcount for at in steps)
