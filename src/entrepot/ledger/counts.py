"""How much waits for each upstream and partner: counted with each change, because counting rows takes too long."""

from __future__ import annotations

from sqlalchemy import Connection

from entrepot.ledger.statements import RowInsert
from entrepot.store.ledger import queues

_COUNT = RowInsert(
    queues,
    *queues.columns,
    conflict=lambda insert: insert.on_conflict_do_update(
        index_elements=["upstream", "partner"],
        set_={
            "unfinished": queues.c.unfinished + insert.excluded.unfinished,
            "bytes": queues.c.bytes + insert.excluded.bytes,
        },
    ),
)


class Counts:
    """What a transaction of the database adds to the queues; written at its end, a row for each queue."""

    def __init__(self) -> None:
        self._changes: dict[tuple[str, str], list[int]] = {}

    def add(self, upstream: str, partner: str, size: int) -> None:
        """Note that a transaction of *size* bytes is unfinished now."""
        self._change(upstream, partner, 1, size)

    def remove(self, upstream: str, partner: str, size: int) -> None:
        """Note that a transaction of *size* bytes is finished."""
        self._change(upstream, partner, -1, -size)

    def write(self, connection: Connection) -> None:
        """Add it up in the database."""
        # In one order for all, so that no two of them wait for each other.
        _COUNT.run(connection, [(*queue, *change) for queue, change in sorted(self._changes.items())])

    def _change(self, upstream: str, partner: str, number: int, size: int) -> None:
        change = self._changes.setdefault((upstream, partner), [0, 0])
        change[0] += number
        change[1] += size
