"""What follows from the outcome of a delivery: the new state of the transaction, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import random
from typing import Literal

from entrepot.catalog.plans import Plan
from entrepot.chassis.errors import Error, problem
from entrepot.connectors.faults import FaultClass, fault_of
from entrepot.courier.leases import OwnLease
from entrepot.errors import OutcomeUnclear
from entrepot.ledger.entries import Attempt, KeptAnswer, Lease, Settlement
from entrepot.ledger.states import Applied

MAX_DETAIL = 500
UNTRIED_S = 0.5
"""What found no place, or its upstream left alone, waits about this long when nothing says when to come again."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Who tried, and when; Unix time."""

    courier: str
    started_at: float
    ended_at: float


def delivered(lease: Lease, answer: KeptAnswer, tried: Tried) -> Settlement:
    """Return how *lease* is settled that was answered with *answer*."""
    attempt = Attempt(tried.courier, tried.started_at, tried.ended_at, "delivered", answer.status)
    return Settlement(lease.seq, lease.token, "delivered", "yes", attempt, answer=answer)


def given_back(own: OwnLease, due_at: float, *, unknown: bool = False) -> Settlement:
    """Return how a lease is settled that is tried again from *due_at* on: *unknown* when it may have been applied."""
    lease = own.lease
    applied: Applied = "unknown" if unknown and lease.applied == "no" else lease.applied
    state: Literal["queued", "waiting"] = "queued" if applied == "no" and not lease.attempts else "waiting"
    return Settlement(lease.seq, lease.token, state, applied, due_at=due_at, rests_until=lease.rests_until)


def broken_off(own: OwnLease, now: float, rest_s: float) -> Settlement:
    """Return how a lease is settled whose delivery was broken off; the upstream may be at work on it for *rest_s*."""
    settlement = given_back(own, now + rest_s, unknown=own.sent)
    return replace(settlement, rests_until=now + rest_s) if rest_s else settlement


def held(lease: Lease, reason: Literal["client", "upstream"]) -> Settlement:
    """Return how a lease is settled that has to wait until *reason* is gone."""
    return Settlement(lease.seq, lease.token, "held", lease.applied, reason=reason)


def bare(settlement: Settlement) -> Settlement:
    """Return *settlement* without what was said, which may be what the ledger cannot keep."""
    attempt = settlement.attempt and replace(settlement.attempt, detail="")
    return replace(settlement, attempt=attempt, answer=None, problem=None)


def until(settlement: Settlement, due_at: float) -> Settlement:
    """Return *settlement* with *due_at* instead, when that is later."""
    return replace(settlement, due_at=max(due_at, settlement.due_at or 0.0))


def failed(
    own: OwnLease,
    plan: Plan,
    error: Error,
    tried: Tried,
    *,
    settle_s: float,
    answer: KeptAnswer | None = None,
    random: Callable[[], float] = random,
) -> Settlement:
    """Return how a lease is settled whose delivery failed with *error*.

    *settle_s* is how long the upstream may be at work on a call without an answer; *answer* is the refusal that it gave
    to a relay. *random* gives the part of the longest wait to take, in [0, 1).
    """
    lease, fault = own.lease, fault_of(error)
    share = random()
    if fault.kind == "upstream":
        return given_back(own, tried.ended_at, unknown=fault.applied != "no")
    if fault.kind == "transient" and not own.sent:
        wait_s = max(fault.retry_after_s or 0.0, UNTRIED_S * (0.5 + share))
        return given_back(own, tried.ended_at + wait_s)
    applied = _known(lease, plan, fault)
    rests_until = tried.ended_at + settle_s if applied == "unknown" and plan.may_be_at_work(error) else 0.0
    if isinstance(error, OutcomeUnclear):
        return _ended(own, "held", "unknown", error, tried)
    if fault.kind == "record" or tried.ended_at > lease.expires_at:
        return replace(_ended(own, "dead", applied, error, tried), answer=answer, rests_until=rests_until)
    wait_s = plan.retry.delay_s(lease.attempts + 1, retry_after_s=fault.retry_after_s, random=lambda: share)
    due_at = max(tried.ended_at + wait_s, rests_until)
    return Settlement(
        lease.seq, lease.token, "waiting", applied, _attempt(error, fault, tried), due_at=due_at,
        problem=problem(error, lease.operation_id), rests_until=rests_until,
    )  # fmt: skip


def _known(lease: Lease, plan: Plan, fault: FaultClass) -> Applied:
    """Return what is known of the transaction after *fault*: what one try does not know, the next may find out."""
    if lease.applied == "no" or fault.applied == "yes":
        return fault.applied
    looked = fault.kind == "record" and plan.kind != "relay"
    return fault.applied if looked else lease.applied


def _ended(own: OwnLease, state: Literal["held", "dead"], applied: Applied, error: Error, tried: Tried) -> Settlement:
    lease = own.lease
    return Settlement(
        lease.seq, lease.token, state, applied, _attempt(error, fault_of(error), tried),
        reason="conflict" if state == "held" else None, problem=problem(error, lease.operation_id),
    )  # fmt: skip


def _attempt(error: Error, fault: FaultClass, tried: Tried) -> Attempt:
    detail = str(error)
    # Other causes may quote the record; what a connection says does not.
    if isinstance(error.__cause__, ConnectionError):
        detail = f"{detail} ({error.__cause__})"
    return Attempt(
        tried.courier, tried.started_at, tried.ended_at, fault.kind, error.status, error.code, detail[:MAX_DETAIL]
    )
