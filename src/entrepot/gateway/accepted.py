"""What a partner is told of a write that the ledger decided about: the 202 and when to look again, or why it is none.

A wait is told as far as it is known: the due time of the write itself or of what is before it in its order, the
breaker, a hold, and how long it takes what its partner has waiting. What nobody knows the end of is to be looked at
again after ``HELD_S``.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from entrepot.chassis.errors import Error
from entrepot.errors import (
    Conflict,
    IdempotencyInWork,
    IdempotencyMismatch,
    StoreUnavailable,
    TooMuchQueued,
    UpstreamUnavailable,
)
from entrepot.gateway.answers import JSON_TYPE, Answer
from entrepot.gateway.idempotency import REPLAYED
from entrepot.gateway.preferences import APPLIED
from entrepot.ledger.entries import Accepted, Refused

if TYPE_CHECKING:
    from entrepot.connectors.link import Link

SOON_S = 1.0
HELD_S = 60.0
"""What is held waits for a person, or for an upstream that is deployed."""
FULL_S = 30.0
"""What a partner with too much waiting is told to wait."""


def accepted_answer(accepted: Accepted, link: Link, now: float, *, is_async: bool) -> Answer:
    """Return the 202 for what was *accepted* for the upstream of *link*, at *now*. *is_async*: it was asked for."""
    id_ = accepted.id.encode("ascii")
    fields = b"%blocation: /transactions/%b\r\nretry-after: %d\r\n%b%b" % (
        JSON_TYPE,
        id_,
        expected_s(link, now, accepted.ahead, accepted.due_at, accepted.held_until, accepted.head_due_at),
        REPLAYED if accepted.replayed else b"",
        APPLIED if is_async else b"",
    )
    return Answer(202, fields, data=b'{"transaction":"%b","state":"%b"}' % (id_, accepted.state.encode("ascii")))


def refusal(refused: Refused, partner: str, now: float) -> Error:
    """Return the error of a write of *partner* that the ledger refused at *now*."""
    if refused.why == "in-work":
        return IdempotencyInWork("the first request with this key has no answer yet", retry_after_s=SOON_S)
    if refused.why == "mismatch":
        return IdempotencyMismatch("this key was sent with another request before; take a new key for a new request")
    if refused.why == "behind":
        why = "earlier writes to the record wait to be delivered: read it again and repeat this when they are"
        return Conflict(f"{why}; If-Match lets nothing wait", retry_after_s=_wait_s(refused.until, now))
    if refused.why == "held":
        why = "the upstream is held, and If-Match lets nothing wait: repeat this when it is released"
        return UpstreamUnavailable(why, retry_after_s=min(_wait_s(refused.until, now), HELD_S))
    what = "transactions" if refused.why == "too-many" else "bytes"
    where = "wait to be delivered" if refused.why == "too-many" else "wait to be delivered or are dead"
    return TooMuchQueued(f"as many {what} of {partner} {where} as may", retry_after_s=FULL_S)


def unstored(error: Error) -> StoreUnavailable:
    """Return the error of a write that the ledger could not decide about because of *error*."""
    if error.applied != "no":
        return unsure(error)
    return _away("the write was not accepted, and not sent: repeat it later", error)


def unsure(error: Error) -> StoreUnavailable:
    """Return the error of a write that may have been stored, or sent, when the ledger failed with *error*."""
    return _away("the write may have been accepted: repeat it with the same Idempotency-Key", error)


def _away(what: str, error: Error) -> StoreUnavailable:
    told = StoreUnavailable(what, retry_after_s=error.retry_after_s or 5.0)
    told.__cause__ = error
    return told


def _wait_s(until: float | None, now: float) -> float:
    """Return how long to wait for what is to happen at *until*; None and infinity: nobody knows when."""
    if until is None or until == inf:
        return HELD_S
    return max(0.0, until - now) + SOON_S


def expected_s(
    link: Link, now: float, ahead: int, due_at: float | None, held_until: float | None, head_due_at: float | None
) -> int:
    """Return in how many seconds a write should be looked at that is tried at *due_at*, and at what is known of it.

    *link* is that to its upstream; all else is as ``Accepted`` has it. None: at once.
    """
    behind_s = link.pace.delay_s(ahead, link.upstream.concurrency)
    waits = [SOON_S, link.breaker.open_for_s(monotonic()), min(behind_s, HELD_S)]
    if due_at is not None:
        waits.append(due_at - now + SOON_S)
    if held_until is not None and held_until > now:
        waits.append(min(held_until - now, HELD_S))
    if head_due_at is not None and head_due_at > now:
        waits.append(HELD_S if head_due_at == inf else head_due_at - now + SOON_S)
    return max(1, round(max(waits)))
