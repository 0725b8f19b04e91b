"""Look at the ledger: one transaction, pages of them, and what waits. Cheap beside a million others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, null, select

from entrepot.ledger.codec import kept_answer, value_of
from entrepot.ledger.entries import Attempt, Backlog, Filters, Head, Sight, Waiting
from entrepot.ledger.pauses import INFINITY, end_of_hold
from entrepot.ledger.statements import ListStatement, head_of
from entrepot.ledger.states import HELD, PASSED, READY, STATES, UNFINISHED, State
from entrepot.store.ledger import attempts, queues, transactions

__all__ = ["Filters", "backlog", "listing", "one"]

_t, _a, _q = transactions.c, attempts.c, queues.c

_SIGHT = (
    _t.seq, _t.id, _t.partner, _t.client, _t.endpoint, _t.upstream, _t.kind, _t.operation_id, _t.target, _t.state,
    _t.applied, _t.reason, _t.accepted_at, _t.due_at, _t.finished_at, _t.attempts, _t.answer, _t.problem, _t.order_key,
)  # fmt: skip
# An answer may be long, and a page has many.
_LISTED = tuple(null().label("answer") if one is _t.answer else one for one in _SIGHT)
_ENDS = ListStatement(_t.id, lambda k: select(_t.id, _t.state, _t.finished_at).join(k, k.c.v == _t.id))
_SIGHTS = ListStatement(_t.seq, lambda k: select(*_LISTED).where(_t.seq.in_(select(k.c.v))))


def one(connection: Connection, id_: str, partner: str | None) -> Sight | None:
    """Return the transaction *id_* with its attempts; None when there is none, or it is not *partner*'s.

    *partner* None stands for an operator, who sees all.
    """
    wanted = select(*_SIGHT).where(_t.id == id_)
    row = connection.execute(wanted if partner is None else wanted.where(_t.partner == partner)).first()
    if row is None:
        return None
    tried = connection.execute(
        select(_a.courier, _a.started_at, _a.ended_at, _a.outcome, _a.status, _a.code, _a.detail, _a.number)
        .where(_a.transaction_seq == row.seq)
        .order_by(_a.number, _a.id)
    )
    sight = _sight(row, tries=tuple(Attempt(*values) for values in tried), follows=_head(connection, row))
    if row.state not in UNFINISHED:
        return sight
    ours = select(_q.unfinished).where(_q.upstream == row.upstream, _q.partner == row.partner)
    ahead = (connection.scalar(ours) or 1) - 1
    return replace(sight, held_until=end_of_hold(connection, row.upstream, -INFINITY), ahead=ahead)


def ends(connection: Connection, ids: Iterable[str]) -> dict[str, float]:
    """Return of those of *ids* that are there when they were over; infinity for what is not, as what is dead."""
    rows = _ENDS.rows(connection, ids)
    return {row.id: row.finished_at if row.state in PASSED else INFINITY for row in rows}


def listing(connection: Connection, filters: Filters) -> list[Sight]:
    """Return the transactions that *filters* let through, without their answers and attempts and what they follow.

    A page that follows a transaction that is not there, or is another partner's, is empty.
    """
    seqs = _matching(connection, filters)
    rows = _SIGHTS.rows(connection, seqs)
    return [_sight(row) for row in sorted(rows, key=lambda row: row.seq, reverse=not filters.oldest_first)]


def backlog(connection: Connection) -> list[Backlog]:
    """Return what is accepted and not finished, for each upstream that has something."""
    waiting = connection.execute(
        select(_q.upstream, _q.partner, _q.unfinished, _q.bytes).where(_q.unfinished > 0).order_by(_q.upstream)
    ).all()
    upstreams = defaultdict(list)
    for row in waiting:
        upstreams[row.upstream].append(row)
    places = Counter(row.partner for row in waiting)
    shared = {partner for partner, count in places.items() if count > 1}
    return [
        Backlog(
            upstream,
            sum(row.unfinished for row in rows),
            sum(row.bytes for row in rows),
            *_ages(connection, upstream, [row.partner for row in rows], shared),
        )
        for upstream, rows in upstreams.items()
    ]


def waiting(connection: Connection) -> list[Waiting]:
    """Return how much is accepted and not finished, by client, endpoint and upstream."""
    theirs = _t.partner.in_(select(_q.partner).where(_q.unfinished > 0))
    by = (_t.client, _t.endpoint, _t.upstream)
    counts = select(*by, func.count()).where(theirs, _t.state.in_(UNFINISHED)).group_by(*by).order_by(*by)
    return [Waiting(*row) for row in connection.execute(counts)]


def partners(connection: Connection) -> list[str]:
    """Return the partners that have transactions, finished or not, by jumps from one to the next in the index."""
    first = select(func.min(_t.partner).label("partner")).cte("p", recursive=True)
    following = select(func.min(_t.partner)).where(_t.partner > first.c.partner).scalar_subquery()
    every = first.union_all(select(following).where(first.c.partner.is_not(None)))
    return list(connection.scalars(select(every.c.partner).where(every.c.partner.is_not(None))))


def _matching(connection: Connection, filters: Filters) -> list[int]:
    """Return the ``seq`` of what *filters* let through, in their order."""
    conditions = _conditions(filters)
    if filters.after is not None:
        last = connection.scalar(select(_t.seq).where(_t.id == filters.after, *_of_partner(filters)))
        if last is None:
            return []
        conditions.append(_t.seq > last if filters.oldest_first else _t.seq < last)
    if filters.partner is None and not filters.states:
        return _first(connection, conditions, filters)
    # Each partner and state is a stretch of the index in the order of acceptance; together they are not.
    each = [filters.partner] if filters.partner is not None else partners(connection)
    runs = [
        _first(connection, [_t.partner == partner, _t.state == state, *conditions], filters)
        for partner in each
        for state in filters.states or STATES
    ]
    return list(islice(merge(*runs, reverse=not filters.oldest_first), filters.limit))


def _of_partner(filters: Filters) -> list[ColumnElement[bool]]:
    return [] if filters.partner is None else [_t.partner == filters.partner]


def _first(connection: Connection, conditions: list[ColumnElement[bool]], filters: Filters) -> list[int]:
    order = _t.seq.asc() if filters.oldest_first else _t.seq.desc()
    return list(connection.scalars(select(_t.seq).where(*conditions).order_by(order).limit(filters.limit)))


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (_t.client, filters.client),
            (_t.endpoint, filters.endpoint),
            (_t.upstream, filters.upstream),
        )
        if value is not None
    ]
    if filters.accepted_from is not None:
        conditions.append(_t.accepted_at >= filters.accepted_from)
    if filters.accepted_to is not None:
        conditions.append(_t.accepted_at < filters.accepted_to)
    return conditions


def _ages(
    connection: Connection, upstream: str, waiting: list[str], shared: set[str]
) -> tuple[float | None, dict[State, int]]:
    """Return when the first of what waits at *upstream* was accepted, and how many there are of each state.

    *shared* are the partners that have work at other upstreams, too: theirs must be looked up in the table, for the
    index does not say where it goes.
    """
    states: dict[State, int] = dict.fromkeys(UNFINISHED, 0)
    firsts: list[int] = []
    for partner in waiting:
        for state in UNFINISHED:
            here = [_t.partner == partner, _t.state == state]
            if partner in shared:
                here.append(_t.upstream == upstream)
            first = connection.scalar(select(_t.seq).where(*here).order_by(_t.seq).limit(1))
            if first is not None:
                firsts.append(first)
                states[state] += connection.scalar(select(func.count()).select_from(transactions).where(*here)) or 0
    oldest = connection.scalar(select(_t.accepted_at).where(_t.seq == min(firsts))) if firsts else None
    return oldest, {state: count for state, count in states.items() if count}


def _head(connection: Connection, row: Any) -> Head | None:
    """Return the transaction that *row* waits for."""
    if row.order_key is None or row.due_at is not None or row.state not in (*READY, HELD):
        return None
    first = select(_t.id, _t.partner, _t.state, _t.applied, _t.due_at).where(_t.seq == head_of(literal(row.order_key)))
    found = connection.execute(first.where(_t.seq < row.seq)).first()
    return None if found is None else Head(*found)


def _sight(row: Any, *, tries: tuple[Attempt, ...] = (), follows: Head | None = None) -> Sight:
    return Sight(
        id=row.id, partner=row.partner, client=row.client, endpoint=row.endpoint, upstream=row.upstream, kind=row.kind,
        operation_id=row.operation_id, target=row.target, state=row.state, applied=row.applied, reason=row.reason,
        accepted_at=row.accepted_at, due_at=row.due_at, finished_at=row.finished_at, attempts=row.attempts,
        answer=kept_answer(row.answer), problem=value_of(row.problem), tries=tries, follows=follows,
    )  # fmt: skip
