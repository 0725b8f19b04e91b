"""How much there is of each upstream and partner: counted with each change, because counting rows takes too long."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from entrepot.ledger.statements import ListStatement, RowInsert
from entrepot.ledger.states import DEAD, PASSED, State
from entrepot.store.ledger import queues

_NUMBERS = (queues.c.unfinished, queues.c.bytes, queues.c.dead_bytes, queues.c.kept_bytes)
_COUNT = RowInsert(
    queues,
    *queues.columns,
    conflict=lambda insert: insert.on_conflict_do_update(
        index_elements=["upstream", "partner"],
        set_={one.name: one + insert.excluded[one.name] for one in _NUMBERS},
    ),
)
_KEPT = ListStatement(
    queues.c.partner,
    lambda k: (
        select(queues.c.partner, func.sum(queues.c.kept_bytes))
        .where(queues.c.partner.in_(select(k.c.v)))
        .group_by(queues.c.partner)
    ),
)


class Counts:
    """What a transaction of the database adds to the queues; written at its end, a row for each queue.

    Sizes are in bytes. They count by state: what is unfinished, what is dead, and what is kept although it is over.
    """

    def __init__(self) -> None:
        self._changes: dict[tuple[str, str], list[int]] = {}

    def put(self, upstream: str, partner: str, state: State, size: int) -> None:
        """Note that a transaction of *size* is in *state* now."""
        self._change(upstream, partner, state, 1, size)

    def take(self, upstream: str, partner: str, state: State, size: int) -> None:
        """Note that a transaction of *size* that was in *state* is not any more."""
        self._change(upstream, partner, state, -1, -size)

    def keep(self, upstream: str, partner: str, size: int) -> None:
        """Note that an answer of *size* is kept for a key; below 0: is not any more."""
        self._of(upstream, partner)[3] += size

    def write(self, connection: Connection) -> None:
        """Add it up in the database."""
        # In one order for all, so that no two of them wait for each other.
        _COUNT.run(connection, [(*queue, *change) for queue, change in sorted(self._changes.items()) if any(change)])

    def _change(self, upstream: str, partner: str, state: State, number: int, size: int) -> None:
        change = self._of(upstream, partner)
        if state in PASSED:
            change[3] += size
        elif state == DEAD:
            change[2] += size
        else:
            change[0] += number
            change[1] += size

    def _of(self, upstream: str, partner: str) -> list[int]:
        return self._changes.setdefault((upstream, partner), [0, 0, 0, 0])


def kept_bytes_of(connection: Connection, partners: set[str]) -> dict[str, int]:
    """Return how many bytes are kept of what is over, for each of *partners* that the queues know."""
    return {row[0]: int(row[1]) for row in _KEPT.rows(connection, partners)}
