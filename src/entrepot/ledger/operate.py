"""What operators do, and partners who cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, and_, case, func, null, select

from entrepot.ledger.clients import (
    begin_hold,
    disabled_clients,
    held_clients,
    hold_client,
    release_client,
    waiting_clients,
)
from entrepot.ledger.counts import Counts
from entrepot.ledger.entries import Hold
from entrepot.ledger.retention import Eraser
from entrepot.ledger.retry import DEFAULT_RETRY
from entrepot.ledger.revival import AGAIN, STEP, let_go
from entrepot.ledger.settle import promote
from entrepot.ledger.statements import ListStatement, param
from entrepot.ledger.states import CANCELLABLE, CANCELLED, QUEUED, STOPPED
from entrepot.store.ledger import holds as held
from entrepot.store.ledger import transactions

__all__ = [
    "Cancelled", "Eraser", "Hold", "begin_hold", "cancel", "disabled_clients", "held_clients", "hold", "hold_client",
    "holds", "release", "release_client", "replay", "skip", "waiting_clients",
]  # fmt: skip

Cancelled = Literal["done", "gone", "sent"]

_t = transactions.c

_NAMED = ListStatement(
    _t.id,
    lambda k: (
        select(
            _t.seq, _t.id, _t.state, _t.applied, _t.upstream, _t.partner, _t.size, _t.order_key,
            _t.body.is_(None).label("is_erased"), func.coalesce(func.length(_t.answer), 0).label("answer_size"),
        )
        .where(_t.id.in_(select(k.c.v)))
        .order_by(_t.seq)
        .with_for_update()
    ),
)  # fmt: skip
_REVIVE = ListStatement(
    _t.seq,
    lambda k: (
        transactions.update()
        .where(_t.seq.in_(select(k.c.v)))
        .values(
            **AGAIN,
            finished_at=null(),
            answer=null(),
            # Whoever replays a conflict has compared: what was noted before would only find it again.
            memory=case((_t.reason == "conflict", null()), else_=_t.memory),
            size=_t.size - func.coalesce(func.length(_t.answer), 0),
            expires_at=case(
                (_t.expires_at < param("least", _t.due_at), param("least", _t.due_at)), else_=_t.expires_at
            ),
        )
    ),
    "now", "least",
)  # fmt: skip
_CANCEL = ListStatement(
    _t.seq,
    lambda k: (
        transactions.update()
        .where(_t.seq.in_(select(k.c.v)))
        .values(state=CANCELLED, reason=null(), due_at=null(), finished_at=param("now", _t.due_at))
    ),
    "now",
)


def hold(connection: Connection, upstream: str, reason: str, detail: str, until: float | None, now: float) -> None:
    """Let nothing be delivered to *upstream*, ``*`` for all, until *until*; None: until it is released.

    What an operator holds stays held for that reason until it is released.
    """
    row = connection.execute(select(held).where(held.c.upstream == upstream).with_for_update()).first()
    known = Hold(*row) if row is not None and not Hold(*row).is_over(now) else None
    if known is not None and known.reason == "maintenance" != reason:
        return
    since = known.since if known is not None else now
    connection.execute(held.delete().where(held.c.upstream == upstream))
    connection.execute(held.insert().values(upstream=upstream, reason=reason, detail=detail, since=since, until=until))


def release(connection: Connection, upstream: str, now: float, limit: int = STEP) -> int:
    """Let *limit* of what was held for *upstream* go again, and return how many may; 0 when all may.

    The hold ends with the last of them.
    """
    count = let_go(connection, and_(_t.upstream == upstream, _t.reason == "upstream"), now, limit)
    if count < limit:
        connection.execute(held.delete().where(held.c.upstream == upstream))
    return count


def holds(connection: Connection) -> list[Hold]:
    """Return all holds, of upstreams and of clients, also those that have ended by themselves."""
    return [Hold(*row) for row in connection.execute(select(held).order_by(held.c.upstream))]


def cancel(connection: Connection, id_: str, partner: str | None, now: float) -> Cancelled:
    """Cancel the transaction *id_*, unless it may have been applied: ``sent``. ``gone``: *partner* has none of this id.

    *partner* None stands for an operator. What is dead can be cancelled, too, so that what follows it may go.
    """
    rows = _NAMED.rows(connection, (id_,))
    if not rows or partner not in {None, rows[0].partner}:
        return "gone"
    row = rows[0]
    if row.state == CANCELLED:
        return "done"
    if row.applied != "no" or row.state not in CANCELLABLE:
        return "sent"
    _pass_over(connection, rows, now)
    return "done"


def replay(connection: Connection, ids: Sequence[str], now: float) -> int:
    """Let what is dead or held be tried again under its id, for three days at least; return how many may.

    What was applied is not, and what was erased cannot be.
    """
    rows = [row for row in _NAMED.rows(connection, ids) if row.state in STOPPED]
    rows = [row for row in rows if row.applied != "yes" and not row.is_erased]
    _REVIVE.run(connection, (row.seq for row in rows), now, now + DEFAULT_RETRY.age_s)
    counts = Counts()
    for row in rows:
        counts.take(row.upstream, row.partner, row.state, row.size)
        counts.put(row.upstream, row.partner, QUEUED, row.size - row.answer_size)
    counts.write(connection)
    promote(connection, _order_keys(rows), now)
    return len(rows)


def skip(connection: Connection, ids: Sequence[str], now: float) -> int:
    """Give up what is dead or held, applied or not, so that what follows it may go; return how many were given up."""
    rows = [row for row in _NAMED.rows(connection, ids) if row.state in STOPPED]
    _pass_over(connection, rows, now)
    return len(rows)


def _pass_over(connection: Connection, rows: Sequence[Any], now: float) -> None:
    """Cancel *rows*, and let go what follows them."""
    _CANCEL.run(connection, (row.seq for row in rows), now)
    counts = Counts()
    for row in rows:
        counts.take(row.upstream, row.partner, row.state, row.size)
        counts.put(row.upstream, row.partner, CANCELLED, row.size)
    counts.write(connection)
    promote(connection, _order_keys(rows), now)


def _order_keys(rows: Sequence[Any]) -> list[str]:
    return [row.order_key for row in rows if row.order_key is not None]
