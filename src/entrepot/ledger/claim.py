"""Lease work to couriers: what is due, partners in turn, each lease with a token that fences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, case, func, null, select

from entrepot.ledger.codec import value_of
from entrepot.ledger.entries import LOST, ClaimRequest, Lease, PlanText, Renewal
from entrepot.ledger.pauses import end_of_hold
from entrepot.ledger.statements import ListStatement, Statement, param
from entrepot.ledger.states import SENDING
from entrepot.store.ledger import attempts, plans, transactions

__all__ = ["ClaimRequest", "Renewal", "claim", "next_due", "renew", "suspects"]

FARTHEST_S = 31 * 86_400.0
"""Nothing is due later than this from now; what is, was noted by a clock that was wrong."""

SUSPECT = 3
"""What so many couriers in a row were lost with may be what ends them."""

_t, _a = transactions.c, attempts.c
_UPSTREAM = param("upstream", _t.upstream)
_NOW = param("now", _t.due_at)
_DUE = _t.due_at.is_not(None)


def _partners() -> Any:
    """Return the partners that have something due some time, found by jumps from one to the next in the index."""
    first = select(func.min(_t.partner).label("partner")).where(_t.upstream == _UPSTREAM, _DUE).cte("p", recursive=True)
    following = (
        select(func.min(_t.partner)).where(_t.upstream == _UPSTREAM, _DUE, _t.partner > first.c.partner)
    ).scalar_subquery()
    return first.union_all(select(following).where(first.c.partner.is_not(None)))


def _first_due(partner: Any, wanted: Any) -> Any:
    return select(wanted).where(_t.upstream == _UPSTREAM, _t.partner == partner, _DUE)


_p = _partners()
_READY = Statement(
    select(_p.c.partner).where(_first_due(_p.c.partner, _t.seq).where(_t.due_at <= _NOW).exists()), "upstream", "now"
)
_NEXT = Statement(
    select(func.min(_first_due(_p.c.partner, func.min(_t.due_at)).scalar_subquery())).select_from(_p), "upstream"
)
_OF_PARTNER = Statement(
    _first_due(param("partner", _t.partner), _t.seq)
    .where(_t.due_at <= _NOW)
    .order_by(_t.due_at, _t.seq)
    .limit(param("most", _t.attempts))
    .with_for_update(skip_locked=True),
    "upstream", "partner", "now", "most",
)  # fmt: skip
_LEASE = ListStatement(
    _t.seq,
    lambda k: (
        transactions.update()
        .where(_t.seq.in_(select(k.c.v)), _DUE)
        .values(
            state=SENDING, lease=param("token", _t.lease), leased_until=param("until", _t.leased_until),
            due_at=null(),
        )
        .returning(
            _t.seq, _t.id, _t.lease, _t.leased_until, _t.partner, _t.client, _t.endpoint, _t.upstream, _t.kind,
            _t.operation_id, _t.plan, _t.facts, _t.body, _t.accepted_at, _t.expires_at, _t.applied, _t.attempts,
            _t.memory, _t.rests_until,
        )
    ),
    "token", "until",
)  # fmt: skip
_PLANS = ListStatement(
    plans.c.digest, lambda k: select(plans.c.digest, plans.c.document).where(plans.c.digest.in_(select(k.c.v)))
)
_LOST = ListStatement(
    _a.transaction_seq,
    lambda k: (
        select(_a.transaction_seq)
        .join(transactions, _t.seq == _a.transaction_seq)
        .where(_a.transaction_seq.in_(select(k.c.v)), _a.number > _t.attempts - param("least", _t.attempts))
        .group_by(_a.transaction_seq)
        .having(func.count(case((_a.code == LOST, 1))) >= param("least", _t.attempts))
    ),
    "least",
)
_HOLDERS = ListStatement(
    _t.seq,
    lambda k: select(_t.seq, _t.lease).where(_t.seq.in_(select(k.c.v)), _t.lease.is_not(None)).with_for_update(),
)
_RENEW = Statement(
    transactions.update()
    .where(_t.seq == param("of", _t.seq))
    .values(leased_until=param("until", _t.leased_until)),
    "until", "of",
)  # fmt: skip


def claim(connection: Connection, items: Sequence[ClaimRequest], now: float) -> list[list[Lease]]:
    """Lease what is due now to each of *items*; an upstream that is held gives nothing.

    Partners take turns: one transaction of each after another, beginning behind the partner that was served last.
    """
    return [_claim(connection, item, now) for item in items]


def renew(connection: Connection, items: Sequence[Renewal], _now: float) -> list[bool]:
    """Make each lease last longer; False: it is not ours any more."""
    holders = {row[0]: row[1] for row in _HOLDERS.rows(connection, (one.seq for one in items))}
    ours = [holders.get(one.seq) == one.token for one in items]
    _RENEW.run_each(connection, [(one.until, one.seq) for one, is_ours in zip(items, ours, strict=True) if is_ours])
    return ours


def suspects(connection: Connection, seqs: Iterable[int], *, least: int = SUSPECT) -> set[int]:
    """Return which of *seqs* the last *least* couriers that had them were lost with."""
    return {row[0] for row in _LOST.rows(connection, seqs, least)}


def next_due(connection: Connection, upstream: str) -> float | None:
    """Return when *upstream* has something to be tried, which may be past; None: never, as things stand.

    While it is held that is the end of the hold.
    """
    due_at: float | None = _NEXT.run(connection, upstream).scalar()
    released_at = end_of_hold(connection, upstream, float("-inf"))
    if due_at is None or released_at == float("inf"):
        return None
    return due_at if released_at is None else max(due_at, released_at)


def _claim(connection: Connection, request: ClaimRequest, now: float) -> list[Lease]:
    if request.limit < 1 or end_of_hold(connection, request.upstream, now) is not None:
        return []
    order = {seq: place for place, seq in enumerate(_choose(connection, request, now))}
    rows = _LEASE.rows(connection, order, str(uuid4()), now + request.lease_s)
    rows.sort(key=lambda row: order[row[0]])
    documents = {row[0]: row[1] for row in _PLANS.rows(connection, (row[10] for row in rows))}
    tried = [row[0] for row in rows if row[16] >= SUSPECT and row[15] == "unknown"]
    suspected = suspects(connection, tried)
    return [_lease(row, PlanText(row[10], documents[row[10]]), row[0] in suspected) for row in rows]


def _choose(connection: Connection, request: ClaimRequest, now: float) -> list[int]:
    """Return what is to be leased, the first of each partner first."""
    ready = sorted(row[0] for row in _READY.run(connection, request.upstream, now))
    behind = [partner for partner in ready if partner > request.after]
    partners = (behind + ready[: len(ready) - len(behind)])[: request.limit]
    if not partners:
        return []
    share = -(-request.limit // len(partners))
    found = [_of_partner(connection, request, partner, now, share) for partner in partners]
    if sum(map(len, found)) < request.limit:
        found = [
            _of_partner(connection, request, partner, now, request.limit) if len(some) == share else some
            for partner, some in zip(partners, found, strict=True)
        ]
    turns = (seq for turn in zip_longest(*found) for seq in turn if seq is not None)
    return list(islice(turns, request.limit))


def _of_partner(connection: Connection, request: ClaimRequest, partner: str, now: float, most: int) -> list[int]:
    return [row[0] for row in _OF_PARTNER.run(connection, request.upstream, partner, now, most)]


def _lease(row: Any, plan: PlanText, is_suspect: bool) -> Lease:
    return Lease(
        seq=row[0], id=row[1], token=row[2], until=row[3], partner=row[4], client=row[5], endpoint=row[6],
        upstream=row[7], kind=row[8], operation_id=row[9], plan=plan, facts=value_of(row[11]), body=row[12] or b"",
        accepted_at=row[13], expires_at=row[14], applied=row[15], attempts=row[16], memory=value_of(row[17]),
        rests_until=row[18] or 0.0, is_suspect=is_suspect,
    )  # fmt: skip
