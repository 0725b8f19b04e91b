"""Note what came of a lease: the new state, the attempt, and whose turn it is next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, null, or_, select

from entrepot.ledger.claim import FARTHEST_S
from entrepot.ledger.codec import bounded, kept_bytes, text_of, text_or_none
from entrepot.ledger.counts import Counts
from entrepot.ledger.entries import Finished, Memory, Settlement
from entrepot.ledger.pauses import held_clients
from entrepot.ledger.statements import ListStatement, RowInsert, Statement, Values, due_from, head_of, param
from entrepot.ledger.states import DELIVERED, FINISHED, HELD, PASSED, READY, SENDING, WAITING, may_move
from entrepot.store.ledger import attempts, transactions

__all__ = ["Finished", "Memory", "finish", "promote", "remember", "settle"]

_t, _a = transactions.c, attempts.c

# What waits for an operator may be looked at by one: it stays as it is.
_UNSETTLED = and_(
    _t.applied == "unknown", _t.lease.is_(None),
    or_(_t.state == WAITING, and_(_t.state == HELD, _t.reason != "conflict")),
)  # fmt: skip
_LEASED = ListStatement(
    _t.seq,
    lambda k: (
        select(
            _t.seq, _t.lease, _t.client, _t.upstream, _t.partner, _t.size, _t.order_key, _t.attempts, _t.problem,
            _t.rests_until,
        )
        .where(_t.seq.in_(select(k.c.v)), _t.state == SENDING)
        .with_for_update()
    ),
)  # fmt: skip
_HANDED_OVER = ListStatement(
    _t.id,
    lambda k: select(_t.id, _t.seq).where(_t.id.in_(select(k.c.v)), _UNSETTLED).with_for_update(),
)
_TAKE = Statement(
    transactions.update()
    .where(_t.seq == param("of", _t.seq))
    .values(state=SENDING, lease=param("token", _t.lease), due_at=null()),
    "token", "of",
)  # fmt: skip
# No courier has had it since it was handed over as long as it rests since then.
_NOT_APPLIED = Statement(
    transactions.update()
    .where(
        _t.id == param("of", _t.id), _UNSETTLED, _t.rests_until == param("was_due_at", _t.rests_until),
        _t.rests_until > param("now", _t.rests_until),
    )
    .values(
        applied="no", rests_until=null(),
        due_at=case((_t.due_at.is_(None), null()), else_=param("again_at", _t.due_at)),
    ),
    "again_at", "of", "was_due_at", "now",
)  # fmt: skip
_END_TRY = Statement(
    attempts.update()
    .where(
        _a.transaction_seq == select(_t.seq).where(_t.id == param("of", _t.id)).scalar_subquery(),
        _a.courier == param("by", _a.courier), _a.started_at == param("begun_at", _a.started_at),
    )
    .values(
        ended_at=param("at", _a.ended_at), outcome=param("outcome_is", _a.outcome),
        status=param("status_is", _a.status), code=param("code_is", _a.code), detail=param("detail_is", _a.detail),
    ),
    "at", "outcome_is", "status_is", "code_is", "detail_is", "of", "by", "begun_at",
)  # fmt: skip
_SETTLE = Statement(
    transactions.update()
    .where(_t.seq == param("of", _t.seq))
    .values(
        state=param("state_is", _t.state), applied=param("applied_is", _t.applied),
        reason=param("reason_is", _t.reason), due_at=param("due_is", _t.due_at),
        finished_at=param("finished_is", _t.finished_at), size=param("size_is", _t.size),
        attempts=param("attempts_are", _t.attempts), answer=param("answer_is", _t.answer),
        problem=param("problem_is", _t.problem), rests_until=param("rests_are", _t.rests_until), lease=null(),
        leased_until=null(),
    ),
    "state_is", "applied_is", "reason_is", "due_is", "finished_is", "size_is", "attempts_are", "answer_is",
    "problem_is", "rests_are", "of",
)  # fmt: skip
_NOTE_ATTEMPTS = RowInsert(
    attempts, _a.transaction_seq, _a.number, _a.courier, _a.started_at, _a.ended_at, _a.outcome, _a.status, _a.code,
    _a.detail,
)  # fmt: skip
_REMEMBER = Statement(
    transactions.update()
    .where(_t.seq == param("of", _t.seq))
    .values(memory=param("noted", _t.memory), rests_until=param("rests", _t.rests_until)),
    "noted", "rests", "of",
)  # fmt: skip
_PROMOTE = ListStatement(
    _t.order_key,
    lambda k: (
        transactions.update()
        .where(
            _t.seq.in_(select(head_of(k.c.v, k)).select_from(k)),
            _t.due_at.is_(None),
            _t.state.in_(READY),
        )
        .values(due_at=due_from(param("now", _t.due_at)))
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
    """Note how the tries of writes that were handed over have ended, and return which are delivered thereby.

    Not so what came to no good end, or what somebody else is at work on already, or what an operator has to compare;
    held otherwise makes no difference. What was not applied, for sure, may be tried or cancelled as if it had never
    been sent.
    """
    _END_TRY.run_each(connection, [_ended(item) for item in items])
    refused = [(item.again_at, item.id, item.due_at, now) for item in items if item.again_at is not None]
    _NOT_APPLIED.run_each(connection, refused)
    well = {item.id: item.answer for item in items if item.answer is not None}
    rows = {row.id: row.seq for row in _HANDED_OVER.rows(connection, well)}
    _TAKE.run_each(connection, [*rows.items()])
    # The try was counted when the write was handed over.
    settle(connection, [Settlement(seq, id_, DELIVERED, "yes", answer=well[id_]) for id_, seq in rows.items()], now)
    return [item.id in rows for item in items]


def remember(connection: Connection, items: Sequence[Memory], _now: float) -> list[bool]:
    """Keep what the connector noted before the first try of each lease; False: it was not ours any more."""
    tokens = {row[0]: row[1] for row in _LEASED.rows(connection, (item.seq for item in items))}
    ours = [tokens.get(item.seq) == item.token for item in items]
    rows = [
        (text_of(item.memory), item.rests_until, item.seq) for item, is_ours in zip(items, ours, strict=True) if is_ours
    ]
    _REMEMBER.run_each(connection, rows)
    return ours


def promote(connection: Connection, order_keys: Iterable[str], now: float) -> None:
    """Let the first of each ordering key go now, when it waits for nothing but others that have passed."""
    _PROMOTE.run(connection, order_keys, now)


def _ended(item: Finished) -> Values:
    tried = item.attempt
    return (
        tried.ended_at, tried.outcome, tried.status, tried.code, tried.detail, item.id, tried.courier,
        tried.started_at,
    )  # fmt: skip


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
        if not may_move(SENDING, item.state):
            raise ValueError(f"what is being sent cannot become {item.state}")
        if item.attempt is not None:
            tried = item.attempt
            self._attempts.append((
                item.seq, row.attempts + 1, tried.courier, tried.started_at, tried.ended_at, tried.outcome,
                tried.status, tried.code, tried.detail,
            ))  # fmt: skip
        answer = kept_bytes(None if item.answer is None else bounded(item.answer))
        size = row.size + len(answer or b"")
        self._rows.append(self._changed(item, row, answer, size))
        if item.state in FINISHED:
            self._counts.take(row.upstream, row.partner, SENDING, row.size)
            self._counts.put(row.upstream, row.partner, item.state, size)
        if item.state in PASSED and row.order_key is not None:
            self._passed.add(row.order_key)
        return True

    def write(self, connection: Connection) -> None:
        """Write what was noted."""
        _SETTLE.run_each(connection, self._rows)
        _NOTE_ATTEMPTS.run(connection, self._attempts)
        promote(connection, self._passed, self._now)
        self._counts.write(connection)

    def _changed(self, item: Settlement, row: Any, answer: bytes | None, size: int) -> Values:
        state, reason, due_at = item.state, item.reason, None
        if state in READY:
            due_at = min(self._now if item.due_at is None else item.due_at, self._now + FARTHEST_S)
            if row.client in self._held:
                state, reason, due_at = HELD, "client", None
        problem = None if state == DELIVERED else text_or_none(item.problem) or row.problem
        rests_until = row.rests_until if item.rests_until is None else item.rests_until
        return (
            state, item.applied, reason, due_at, self._now if state in FINISHED else None, size,
            row.attempts + (item.attempt is not None), answer, problem, rests_until, item.seq,
        )  # fmt: skip


def _held_clients(connection: Connection, items: Sequence[Settlement], leased: dict[int, Any], now: float) -> set[str]:
    """Return the held clients of those of *items* that are to be tried again."""
    waiting = (leased.get(item.seq) for item in items if item.state in READY)
    return held_clients(connection, {row.client for row in waiting if row is not None}, now)
