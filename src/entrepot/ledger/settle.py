"""Note what came of a lease: the new state, the attempt, and whose turn it is next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, case, null, select

from entrepot.ledger.claim import FARTHEST_S
from entrepot.ledger.codec import kept_bytes, text_of, text_or_none
from entrepot.ledger.counts import Counts
from entrepot.ledger.entries import Finished, Memory, Settlement
from entrepot.ledger.pauses import held_clients
from entrepot.ledger.statements import ListStatement, RowInsert, Statement, Values, head_of, param
from entrepot.ledger.states import FINISHED, PASSED, may_move
from entrepot.store.ledger import attempts, transactions

__all__ = ["Finished", "Memory", "finish", "promote", "remember", "settle"]

_t, _a = transactions.c, attempts.c

_LEASED = ListStatement(
    _t.seq,
    lambda k: (
        select(_t.seq, _t.lease, _t.client, _t.upstream, _t.partner, _t.size, _t.order_key, _t.attempts, _t.problem)
        .where(_t.seq.in_(select(k.c.v)), _t.state == "sending")
        .with_for_update()
    ),
)
_HANDED_OVER = ListStatement(
    _t.id,
    lambda k: (
        select(_t.id, _t.seq)
        .where(_t.id.in_(select(k.c.v)), _t.state == "waiting", _t.applied == "unknown", _t.lease.is_(None))
        .with_for_update()
    ),
)
_TAKE = Statement(
    transactions.update()
    .where(_t.seq == param("of", _t.seq))
    # The try that ended well is the one that was counted when the write was handed over.
    .values(
        state="sending", lease=param("token", _t.lease), due_at=null(),
        attempts=case((_t.attempts > 0, _t.attempts - 1), else_=0),
    ),
    "token", "of",
)  # fmt: skip
_SETTLE = Statement(
    transactions.update()
    .where(_t.seq == param("of", _t.seq))
    .values(
        state=param("state_is", _t.state), applied=param("applied_is", _t.applied),
        reason=param("reason_is", _t.reason), due_at=param("due_is", _t.due_at),
        finished_at=param("finished_is", _t.finished_at),
        attempts=param("attempts_are", _t.attempts), answer=param("answer_is", _t.answer),
        problem=param("problem_is", _t.problem), lease=null(), leased_until=null(),
    ),
    "state_is", "applied_is", "reason_is", "due_is", "finished_is", "attempts_are", "answer_is", "problem_is", "of",
)  # fmt: skip
_NOTE_ATTEMPTS = RowInsert(
    attempts, _a.transaction_seq, _a.number, _a.courier, _a.started_at, _a.ended_at, _a.outcome, _a.status, _a.code,
    _a.detail,
)  # fmt: skip
_REMEMBER = Statement(
    transactions.update().where(_t.seq == param("of", _t.seq)).values(memory=param("noted", _t.memory)), "noted", "of"
)
_PROMOTE = ListStatement(
    _t.order_key,
    lambda k: (
        transactions.update()
        .where(
            _t.seq.in_(select(head_of(k.c.v, k)).select_from(k)),
            _t.due_at.is_(None),
            _t.state.in_(("queued", "waiting")),
        )
        .values(due_at=param("now", _t.due_at))
    ),
    "now",
)


def settle(connection: Connection, items: Sequence[Settlement], now: float) -> list[bool]:
    """Note what came of each lease; False: it was not ours any more, and nothing has changed.

    What was passed on lets the next with its ordering key go; what died holds it.
    """
    leased = {row[0]: row for row in _LEASED.rows(connection, (item.seq for item in items))}
    batch = _Batch(_held_clients(connection, items, leased, now), now)
    settled = [batch.add(item, leased) for item in items]
    batch.write(connection)
    return settled


def finish(connection: Connection, items: Sequence[Finished], now: float) -> list[bool]:
    """Note that writes which were handed over have been delivered; False: somebody else is at work on it already."""
    rows = {row.id: row.seq for row in _HANDED_OVER.rows(connection, (item.id for item in items))}
    ours = [item for item in items if item.id in rows]
    _TAKE.run_each(connection, [(item.id, rows[item.id]) for item in ours])
    settle(
        connection,
        [
            Settlement(rows[item.id], item.id, "delivered", "yes", attempt=item.attempt, answer=item.answer)
            for item in ours
        ],
        now,
    )
    return [item.id in rows for item in items]


def remember(connection: Connection, items: Sequence[Memory], _now: float) -> list[bool]:
    """Keep what the connector noted before the first try of each lease; False: it was not ours any more."""
    tokens = {row[0]: row[1] for row in _LEASED.rows(connection, (item.seq for item in items))}
    ours = [tokens.get(item.seq) == item.token for item in items]
    rows = [(text_of(item.memory), item.seq) for item, is_ours in zip(items, ours, strict=True) if is_ours]
    _REMEMBER.run_each(connection, rows)
    return ours


def promote(connection: Connection, order_keys: Iterable[str], now: float) -> None:
    """Let the first of each ordering key go now, when it waits for nothing but others that have passed."""
    _PROMOTE.run(connection, order_keys, now)


class _Batch:
    def __init__(self, held: set[str], now: float) -> None:
        self._held = held
        self._now = now
        self._rows: list[Values] = []
        self._attempts: list[Values] = []
        self._passed: set[str] = set()
        self._counts = Counts()

    def add(self, item: Settlement, leased: dict[int, Any]) -> bool:
        """Note what *item* changes, when its row is among those *leased* and by its token; return whether it is."""
        row = leased.get(item.seq)
        if row is None or row.lease != item.token:
            return False
        del leased[item.seq]
        if not may_move("sending", item.state):
            raise ValueError(f"what is being sent cannot become {item.state}")
        if item.attempt is not None:
            tried = item.attempt
            self._attempts.append((
                item.seq, row.attempts + 1, tried.courier, tried.started_at, tried.ended_at, tried.outcome,
                tried.status, tried.code, tried.detail,
            ))  # fmt: skip
        self._rows.append(self._changed(item, row))
        if item.state in FINISHED:
            self._counts.remove(row.upstream, row.partner, row.size)
        if item.state in PASSED and row.order_key is not None:
            self._passed.add(row.order_key)
        return True

    def write(self, connection: Connection) -> None:
        """Write what was noted."""
        _SETTLE.run_each(connection, self._rows)
        _NOTE_ATTEMPTS.run(connection, self._attempts)
        promote(connection, self._passed, self._now)
        self._counts.write(connection)

    def _changed(self, item: Settlement, row: Any) -> Values:
        state, reason, due_at = item.state, item.reason, None
        if state in {"queued", "waiting"}:
            due_at = min(self._now if item.due_at is None else item.due_at, self._now + FARTHEST_S)
            if row.client in self._held:
                state, reason, due_at = "held", "client", None
        problem = None if state == "delivered" else text_or_none(item.problem) or row.problem
        return (
            state, item.applied, reason, due_at, self._now if state in FINISHED else None,
            row.attempts + (item.attempt is not None), kept_bytes(item.answer), problem, item.seq,
        )  # fmt: skip


def _held_clients(connection: Connection, items: Sequence[Settlement], leased: dict[int, Any], now: float) -> set[str]:
    """Return the held clients of those of *items* that are to be tried again."""
    waiting = (leased.get(item.seq) for item in items if item.state in {"queued", "waiting"})
    return held_clients(connection, {row.client for row in waiting if row is not None}, now)
