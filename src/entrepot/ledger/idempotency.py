"""What an ``Idempotency-Key`` that was seen before means for the request that brings it again. Knows no database.

draft-ietf-httpapi-idempotency-key-header-07: the first answer again, a conflict while it is in work, a refusal when
the request is another. A key whose holder was lost goes on as the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.ledger.codec import kept_answer
from entrepot.ledger.entries import Accepted, Claimed, Refused, Replayed


@dataclass(slots=True)
class KeyRow:
    """A key as it is remembered: a row of ``idempotency_keys``, columns in the order of the table."""

    digest: str
    request: str
    transaction_id: str
    queued: int
    leased_until: float | None
    answer: bytes | None
    memory: str | None
    expires_at: float
    partner: str
    upstream: str
    size: int


@dataclass(frozen=True, slots=True)
class Again:
    """Whoever had the key is lost, and what came of its request is not known. *id* is its transaction."""

    id: str
    memory: str | None


def lives_until(known: KeyRow, *, life_s: float, ended_at: float | None) -> float:
    """Return until when *known* is remembered: for *life_s* after its transaction was over, and while it is in work.

    *ended_at* is when its transaction was over, infinity while it is not, None when there is none.
    """
    last = known.expires_at if ended_at is None else max(known.expires_at, ended_at + life_s)
    return last if known.leased_until is None else max(last, known.leased_until)


Verdict = Accepted | Replayed | Refused | Again | None


def judge(known: KeyRow | None, claimed: Claimed, now: float, *, ended_at: float | None = None) -> Verdict:
    """Return what *known* means for *claimed*; None: the key is free. Keys whose life is over are: see ``lives_until``.

    *ended_at* is when the transaction of *known* was over.
    """
    if known is None or lives_until(known, life_s=claimed.expires_at - now, ended_at=ended_at) < now:
        return None
    if known.request != claimed.request:
        return Refused("mismatch")
    answer = kept_answer(known.answer)
    if answer is not None:
        return Replayed(known.transaction_id, answer)
    if known.queued:
        return Accepted(known.transaction_id, replayed=True)
    if known.leased_until is not None and known.leased_until > now:
        return Refused("in-work")
    return Again(known.transaction_id, known.memory)
