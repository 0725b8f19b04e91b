"""Forget: bodies some days after the end, rows some months after; and erase what someone may no longer have stored.

In small steps, because others wait for the database meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import CTE, ClauseElement, Connection, and_, exists, literal_column, not_, null, select, text

from entrepot.ledger.claim import FARTHEST_S
from entrepot.ledger.clients import release_rest
from entrepot.ledger.entries import Json
from entrepot.ledger.statements import ListStatement, param
from entrepot.ledger.states import FINISHED, PASSED
from entrepot.store.ledger import holds, idempotency_keys, queues, transactions

DAY_S = 86_400.0
# Pages of 4 KiB that go back to the file system after each step; a step takes some ten milliseconds.
FREED_PAGES = 1024
KEPT_PAGES = 2048
# Stands in place of the target of what was erased.
ERASED = "(erased)"

_t = transactions.c
_k = idempotency_keys.c
_q = queues.c
_follower = transactions.alias("follower")
# In the words of the index; others would not find it.
_FOLLOWER_WAITS = text("follower.order_key IS NOT NULL AND follower.state NOT IN ('delivered', 'cancelled')")


def _update(**values: Any) -> Callable[[CTE], ClauseElement]:
    return lambda k: transactions.update().where(_t.seq.in_(select(k.c.v))).values(**values)


_EMPTY = {"body": null(), "answer": null(), "memory": null(), "facts": literal_column("'{}'")}
_DROP_BODIES = ListStatement(_t.seq, _update(**_EMPTY))
_ERASE = ListStatement(_t.seq, _update(**_EMPTY, problem=null(), target=literal_column(f"'{ERASED}'")))
_HASTEN = ListStatement(_t.seq, _update(due_at=param("now", _t.due_at)), "now")
_DROP_ROWS = ListStatement(_t.seq, lambda k: transactions.delete().where(_t.seq.in_(select(k.c.v))))
_DROP_KEYS = ListStatement(_k.digest, lambda k: idempotency_keys.delete().where(_k.digest.in_(select(k.c.v))))


@dataclass(frozen=True, slots=True)
class Retention:
    """How long bodies and answers of what was delivered or cancelled are kept, and how long rows of all that ended."""

    bodies_s: float = 7 * DAY_S
    rows_s: float = 90 * DAY_S


class Eraser:
    """Takes personal data out of finished transactions: of a *partner*, or where a field has a value, or both.

    *match* is a field and its value as text: a public field of the body, ``lines.product`` for one inside, or a value
    of the path. Made for one pass; ``step`` is called until ``is_done``.
    """

    def __init__(self, partner: str | None = None, match: tuple[str, str] | None = None) -> None:
        self.is_done = False
        self._partner = partner
        self._match = match
        self._seq = 0

    def step(self, connection: Connection, now: float, limit: int) -> int:  # noqa: ARG002
        """Look at the next *limit* finished transactions at most, and return how many were erased."""
        wanted = select(_t.seq, _t.target, _t.facts, _t.body).where(_t.seq > self._seq, _t.state.in_(FINISHED))
        if self._partner is not None:
            wanted = wanted.where(_t.partner == self._partner)
        rows = connection.execute(wanted.where(_t.target != ERASED).order_by(_t.seq).limit(limit)).all()
        found = [row.seq for row in rows if self._match is None or _has(row, *self._match)]
        _ERASE.run(connection, found)
        self.is_done = len(rows) < limit
        self._seq = rows[-1].seq if rows else self._seq
        return len(found)


def erase(
    connection: Connection,
    partner: str | None = None,
    match: tuple[str, str] | None = None,
    *,
    now: float,
    limit: int,
) -> int:
    """Take personal data out of finished transactions, see ``Eraser``; return how many, at least *limit* if there are.

    It begins at the first transaction each time; for many steps an Eraser is cheaper.
    """
    eraser, count = Eraser(partner, match), 0
    while count < limit and not eraser.is_done:
        count += eraser.step(connection, now, limit)
    return count


def prune(connection: Connection, policy: Retention, now: float, limit: int) -> int:
    """Forget what *policy* says, at most *limit* of each kind, and return how much; 0: there is nothing more to do.

    A dead transaction that others follow stays. Space that came free goes back to the file system.
    """
    bodies = _old_bodies(connection, now - policy.bodies_s, limit)
    rows = _old_rows(connection, now - policy.rows_s, limit)
    keys = _old_keys(connection, now, limit)
    late = _impossibly_late(connection, now + FARTHEST_S, limit)
    _DROP_BODIES.run(connection, bodies)
    _DROP_ROWS.run(connection, rows)
    _DROP_KEYS.run(connection, keys)
    _HASTEN.run(connection, late, now)
    connection.execute(queues.delete().where(_q.unfinished <= 0))
    connection.execute(holds.delete().where(holds.c.until < now, holds.c.reason != "client"))
    freed = release_rest(connection, now, limit)
    return len(bodies) + len(rows) + len(keys) + len(late) + freed + _give_space_back(connection)


def _old_bodies(connection: Connection, before: float, limit: int) -> list[int]:
    found: list[int] = []
    for state in PASSED:
        old = select(_t.seq).where(_t.state == state, _t.finished_at < before, _t.body.is_not(None))
        found += connection.scalars(old.order_by(_t.finished_at).limit(limit - len(found)))
    return found


def _old_rows(connection: Connection, before: float, limit: int) -> list[int]:
    """Return what ended *before*; but nothing dead that others wait for."""
    same_key = and_(_follower.c.order_key == _t.order_key, _follower.c.seq > _t.seq)
    is_needed = and_(_t.state == "dead", exists().where(same_key, _FOLLOWER_WAITS))
    rows = select(_t.seq).where(_t.finished_at < before, not_(is_needed))
    return list(connection.scalars(rows.order_by(_t.finished_at).limit(limit)))


def _old_keys(connection: Connection, before: float, limit: int) -> list[str]:
    return list(connection.scalars(select(_k.digest).where(_k.expires_at < before).limit(limit)))


def _impossibly_late(connection: Connection, after: float, limit: int) -> list[int]:
    """Return what a clock that was wrong has put off."""
    late = exists().where(_t.upstream == _q.upstream, _t.partner == _q.partner, _t.due_at > after)
    found: list[int] = []
    for upstream, partner in connection.execute(select(_q.upstream, _q.partner).where(late)).all():
        here = select(_t.seq).where(_t.upstream == upstream, _t.partner == partner, _t.due_at > after)
        found += connection.scalars(here.limit(limit - len(found)))
    return found


def _give_space_back(connection: Connection) -> int:
    """Give free pages of SQLite's file back, but for those that the next hour fills; return 1 when some were."""
    if connection.dialect.name != "sqlite":
        return 0
    spare = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0) - KEPT_PAGES
    if spare <= 0:
        return 0
    # SQLite gives a page back with each row that is read of this statement. As the rows have no columns, Python's
    # sqlite3 reads one and takes it for the end, whatever number of pages is asked for.
    cursor = connection.connection.cursor()
    for _ in range(min(spare, FREED_PAGES)):
        cursor.execute("PRAGMA incremental_vacuum(1)")
    cursor.close()
    return 1


def _has(row: Any, field: str, value: str) -> bool:
    """Tell whether *field* of the body, or of the path, is *value*."""
    if orjson.loads(row.facts).get("variables", {}).get(field) == value:
        return True
    try:
        body = orjson.loads(row.body or b"null")
    except orjson.JSONDecodeError:
        return False
    return value in map(_text, _values_at(body, field.split(".")))


def _values_at(value: Json, path: list[str]) -> Iterator[Json]:
    if isinstance(value, list):
        for each in value:
            yield from _values_at(each, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:])


def _text(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
