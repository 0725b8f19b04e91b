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
from entrepot.errors import OutcomeUnclear, UpstreamTimeout
from entrepot.ledger.entries import Attempt, KeptAnswer, Lease, Settlement
from entrepot.ledger.retry import RetryPolicy
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
    """Return how a lease is settled that nobody tried, or broke off: *unknown* when it may have been applied."""
    lease = own.lease
    applied: Applied = "unknown" if unknown and lease.applied == "no" else lease.applied
    state: Literal["queued", "waiting"] = "queued" if applied == "no" and not lease.attempts else "waiting"
    return Settlement(lease.seq, lease.token, state, applied, due_at=due_at)


def held(lease: Lease, reason: Literal["client", "upstream"]) -> Settlement:
    """Return how a lease is settled that has to wait until *reason* is gone."""
    return Settlement(lease.seq, lease.token, "held", lease.applied, reason=reason)


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
    if isinstance(error, OutcomeUnclear):
        return _ended(own, "held", "unknown", error, tried)
    if fault.kind == "record" or tried.ended_at > lease.expires_at:
        return replace(_ended(own, "dead", applied, error, tried), answer=answer)
    wait_s = delay_s(plan.retry, lease.attempts + 1, fault.retry_after_s, share)
    if applied == "unknown" and may_be_at_work(plan, error):
        wait_s = max(wait_s, settle_s)
    return Settlement(
        lease.seq, lease.token, "waiting", applied, _attempt(error, fault, tried), due_at=tried.ended_at + wait_s,
        problem=problem(error, lease.operation_id),
    )  # fmt: skip


def delay_s(policy: RetryPolicy, failures: int, retry_after_s: float | None, share: float) -> float:
    """Return how long to wait after *failures* in a row."""
    return policy.delay_s(failures, retry_after_s=retry_after_s, random=lambda: share)


def may_be_at_work(plan: Plan, error: Error | None) -> bool:
    """Tell whether the upstream may still work on what it did not answer, so that to repeat it now could double it.

    A create is safe by its external id. The guard of a call is true only once it is done. Without an *error* nothing
    was heard at all.
    """
    if plan.kind == "call":
        return plan.call is not None and plan.call.guard is not None
    return plan.kind == "update" and (makes_lines(plan) or isinstance(error, UpstreamTimeout | None))


def makes_lines(plan: Plan) -> bool:
    """Tell whether *plan* is an update that may make lines: made twice, they are there twice."""
    return plan.kind == "update" and plan.model is not None and any(field.fields for field in plan.model.fields)


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
