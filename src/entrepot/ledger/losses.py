"""Take back the work of couriers that were lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, or_, select

from entrepot.chassis.errors import problem
from entrepot.errors import OutcomeUnclear
from entrepot.ledger.claim import SUSPECT, suspects
from entrepot.ledger.entries import LOST, WHY_LOST, Attempt, Settlement
from entrepot.ledger.settle import settle
from entrepot.ledger.statements import Statement, param
from entrepot.ledger.states import DEAD, WAITING
from entrepot.store.ledger import transactions

# A lease that ran out longer ago than this, or runs longer, was noted by another clock, or nobody was there to look.
OVERDUE_S = 120.0
LONGEST_S = 3_600.0

_t = transactions.c
_OVERDUE = Statement(
    transactions.update()
    .where(or_(_t.leased_until < param("since", _t.leased_until), _t.leased_until > param("latest", _t.leased_until)))
    .values(leased_until=param("until", _t.leased_until)),
    "since", "latest", "until",
)  # fmt: skip
_RUN_OUT = Statement(
    select(_t.seq, _t.lease, _t.leased_until, _t.rests_until, _t.expires_at, _t.operation_id)
    .where(_t.leased_until <= param("now", _t.leased_until))
    .with_for_update(),
    "now",
)


def reclaim(connection: Connection, now: float, grace_s: float = 30.0) -> int:
    """Take back what is leased to couriers that were lost, and return how much: it may have been sent, or not.

    To be called every few seconds. A lease that ran out minutes ago, or runs for impossibly long, lasts *grace_s* from
    now first: when the clock has jumped, its holder is well and renews it meanwhile. What is past its age is dead once
    it is a suspect: that a host was down for long says nothing of it.
    """
    _OVERDUE.run(connection, now - OVERDUE_S, now + LONGEST_S, now + grace_s)
    lost: Sequence[Any] = _RUN_OUT.run(connection, now).all()
    if not lost:
        return 0
    # The try that is lost just now is not among the attempts yet.
    late = suspects(connection, [row.seq for row in lost if row.expires_at < now], least=SUSPECT - 1)
    settle(connection, [_dead(row) if row.seq in late else _waiting(row, now) for row in lost], now)
    return len(lost)


def _waiting(row: Any, now: float) -> Settlement:
    due_at = max(now, row.rests_until or now)
    return Settlement(row.seq, row.lease, WAITING, "unknown", _attempt(row), due_at=due_at)


def _dead(row: Any) -> Settlement:
    told = problem(OutcomeUnclear("the couriers that tried it were lost, each time"), row.operation_id)
    return Settlement(row.seq, row.lease, DEAD, "unknown", _attempt(row), problem=told)


def _attempt(row: Any) -> Attempt:
    return Attempt("", row.leased_until, row.leased_until, "transient", 503, LOST, WHY_LOST)
