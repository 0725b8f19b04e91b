"""Accept work: many writes, one transaction of the database, an answer for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection, func, select

from entrepot.ledger import reading
from entrepot.ledger.claim import FARTHEST_S
from entrepot.ledger.codec import text_of, text_or_none, value_of
from entrepot.ledger.counts import Counts
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    Admission,
    Attempt,
    Claimed,
    GoOn,
    NewTransaction,
    Quota,
    Refused,
    Replayed,
    lost_try,
)
from entrepot.ledger.idempotency import Again, KeyRow, Verdict, judge
from entrepot.ledger.keys import known_keys, write_keys
from entrepot.ledger.pauses import INFINITY, ends_of_holds, held_clients
from entrepot.ledger.statements import ListStatement, RowInsert, Statement, Values, head_of, param
from entrepot.ledger.states import HELD, STOPPED, WAITING, State
from entrepot.store.ledger import attempts, plans, queues, transactions

_t, _a, _q = transactions.c, attempts.c, queues.c

# Of these kinds something is done twice if it is sent again while the upstream may be at work on it.
_AT_WORK = frozenset({"call", "update"})
_INSERT_PLANS = RowInsert(
    plans, plans.c.digest, plans.c.document, conflict=lambda insert: insert.on_conflict_do_nothing()
)
_INSERT = RowInsert(
    transactions, _t.id, _t.partner, _t.client, _t.endpoint, _t.upstream, _t.kind, _t.operation_id, _t.plan, _t.target,
    _t.facts, _t.body, _t.size, _t.order_key, _t.state, _t.applied, _t.reason, _t.due_at, _t.accepted_at,
    _t.expires_at, _t.attempts, _t.memory, _t.rests_until,
)  # fmt: skip
_INSERT_TRY = Statement(
    attempts.insert().values(
        transaction_seq=select(_t.seq).where(_t.id == param("of", _t.id)).scalar_subquery(),
        number=param("place", _a.number), courier=param("by", _a.courier), started_at=param("begun", _a.started_at),
        ended_at=param("ended", _a.ended_at), outcome=param("result", _a.outcome), status=param("answer", _a.status),
        code=param("error", _a.code), detail=param("why", _a.detail),
    ),
    "of", "place", "by", "begun", "ended", "result", "answer", "error", "why",
)  # fmt: skip
_HEADS = ListStatement(
    _t.order_key,
    lambda k: select(_t.order_key, _t.due_at, _t.state).where(_t.seq.in_(select(head_of(k.c.v, k)).select_from(k))),
)
_USED = ListStatement(
    _q.partner,
    lambda k: (
        select(_q.partner, func.sum(_q.unfinished), func.sum(_q.bytes + _q.dead_bytes))
        .where(_q.partner.in_(select(k.c.v)))
        .group_by(_q.partner)
    ),
)


def accept(connection: Connection, items: Sequence[Acceptance], now: float) -> list[Admission]:
    """Decide about *items* one after the other, write what is accepted, and return what became of each.

    It is on disk when the transaction of *connection* is committed, and not before.
    """
    batch = _Batch(connection, items, now)
    admissions = [batch.admit(item) for item in items]
    batch.write(connection)
    return admissions


class _Batch:
    """What is known of the keys, ordering keys and partners of a batch, and what is to be written for it."""

    def __init__(self, connection: Connection, items: Sequence[Acceptance], now: float) -> None:
        self._now = now
        self._keys = known_keys(connection, (item.key.digest for item in items if item.key is not None))
        self._ended_at = reading.ends(connection, self._doubtful(items))
        self._known = set(self._ended_at)
        ordered = {key for item in items for key in (item.transaction.order_key, item.transaction.other_key)} - {None}
        self._heads = {row[0]: _head_due_at(row[2], row[1]) for row in _HEADS.rows(connection, ordered)}
        partners = {item.transaction.partner for item in items if item.when in {"always", "behind"}}
        self._used = {row[0]: [int(row[1]), int(row[2])] for row in _USED.rows(connection, partners)}
        self._held = held_clients(connection, {item.transaction.client for item in items}, now)
        new = {item.transaction.upstream for item in items if item.when != "never"}
        self._paused = ends_of_holds(connection, new, now)
        self._plans: dict[str, str] = {}
        self._rows: list[Values] = []
        self._tries: list[Values] = []
        self._kept: dict[str, KeyRow] = {}
        self._counts = Counts()

    def admit(self, item: Acceptance) -> Admission:
        """Decide about *item*, and note what is to be written."""
        if item.transaction.other_key in self._heads:
            item = replace(item, transaction=replace(item.transaction, order_key=item.transaction.other_key))
        if item.when == "handed-over":
            return self._take_over(item)
        verdict = self._judge(item.key) if item.key is not None else None
        if verdict is not None and not isinstance(verdict, Again):
            return verdict
        if verdict is not None and verdict.id in self._known:
            return Accepted(verdict.id, replayed=True)
        if item.when == "never":
            return self._let_go_on(item, verdict)
        if item.when == "alone":
            return self._obstacle(item.transaction) or self._let_go_on(item, verdict)
        facts = text_of(item.transaction.facts)
        # Also of what may go directly: it comes here after all when it is not answered in time.
        why = self._excess(item.transaction.partner, _size(item.transaction, facts), item.quota)
        if why is not None:
            return Refused(why)
        rests = verdict is not None and item.transaction.rest_s > 0.0
        if item.when == "behind" and not rests and not self._is_in_the_way(item.transaction):
            return self._let_go_on(item, verdict)
        return self._queue(item, verdict, facts)

    def write(self, connection: Connection) -> None:
        """Write what was noted."""
        _INSERT_PLANS.run(connection, sorted(self._plans.items()))
        _INSERT.run(connection, self._rows)
        _INSERT_TRY.run_each(connection, self._tries)
        write_keys(connection, self._kept.values())
        self._counts.write(connection)

    def _doubtful(self, items: Sequence[Acceptance]) -> Iterable[str]:
        """Return the ids that may be in the ledger already: of whoever came too late, or was lost; and of old keys."""
        handed_over = (item.transaction.id for item in items if item.when == "handed-over")
        lost = (row.transaction_id for row in self._keys.values() if not row.queued or row.expires_at < self._now)
        return (*handed_over, *lost)

    def _judge(self, key: Claimed) -> Verdict:
        known = self._keys.get(key.digest)
        ended_at = None if known is None else self._ended_at.get(known.transaction_id)
        return judge(known, key, self._now, ended_at=ended_at)

    def _is_in_the_way(self, new: NewTransaction) -> bool:
        return new.order_key in self._heads or self._paused[new.upstream] is not None

    def _obstacle(self, new: NewTransaction) -> Refused | None:
        head_due_at, held_until = self._head_due_at(new), self._paused[new.upstream]
        if head_due_at is not None:
            return Refused("behind", head_due_at)
        return None if held_until is None else Refused("held", held_until)

    def _let_go_on(self, item: Acceptance, again: Again | None) -> GoOn:
        if again is None:
            self._keep_key(item)
            return GoOn(item.transaction.id, leased_until=self._leased_until(item))
        self._keep_key(item, again.id, memory=again.memory)
        return GoOn(again.id, again=True, memory=value_of(again.memory), leased_until=self._leased_until(item))

    def _leased_until(self, item: Acceptance) -> float | None:
        """Return the end of the lease, from now on: the call begins only when this is committed."""
        return None if item.key is None else self._now + item.key.leased_until - item.transaction.accepted_at

    def _queue(self, item: Acceptance, again: Again | None, facts: str) -> Accepted:
        new = item.transaction if again is None else _continued(item.transaction, again, self._now)
        self._keep_key(item, new.id, queued=1)
        return self._insert(new, facts)

    def _take_over(self, item: Acceptance) -> Admission:
        """Insert what went directly and did not come to an end; unless another has meanwhile brought it to one."""
        new, facts = item.transaction, text_of(item.transaction.facts)
        kept = self._keys.get(item.key.digest) if item.key is not None else None
        is_own = kept is None or kept.transaction_id == new.id
        if item.key is not None and is_own:
            verdict = self._judge(item.key)
            if isinstance(verdict, Replayed):
                return verdict
        if new.id in self._known:
            return Accepted(new.id, replayed=True, state=new.state, due_at=self._later(new.due_at))
        if is_own:
            self._keep_key(item, queued=1)
        return self._insert(new, facts)

    def _head_due_at(self, new: NewTransaction) -> float | None:
        """Return when what holds *new* back is tried next; None: nothing does."""
        return None if new.order_key is None else self._heads.get(new.order_key)

    def _excess(self, partner: str, size: int, quota: Quota) -> Literal["too-many", "too-large"] | None:
        count, used_bytes = self._used.get(partner, (0, 0))
        if count + 1 > quota.transactions:
            return "too-many"
        return "too-large" if used_bytes + size > quota.bytes else None

    def _insert(self, new: NewTransaction, facts: str) -> Accepted:
        """Note the row of *new*, which waits for those before it with the same ordering key."""
        size, first_at, head_due_at = _size(new, facts), min(new.due_at, self._now + FARTHEST_S), self._head_due_at(new)
        state, reason, held_until = new.state, new.reason, self._paused[new.upstream]
        if new.client in self._held:
            state, reason, held_until = HELD, "client", INFINITY
        may_be_at_work = new.applied == "unknown" and (new.is_under_way or new.kind in _AT_WORK)
        due_at = None if state == HELD or head_due_at is not None else first_at
        self._plans[new.plan.digest] = new.plan.document
        self._rows.append((
            new.id, new.partner, new.client, new.endpoint, new.upstream, new.kind, new.operation_id, new.plan.digest,
            new.target, facts, new.body, size, new.order_key, state, new.applied, reason, due_at, new.accepted_at,
            new.expires_at, len(new.tried), text_or_none(new.memory), first_at if may_be_at_work else None,
        ))  # fmt: skip
        self._tries += (_try(new.id, number, tried) for number, tried in enumerate(new.tried, 1))
        self._known.add(new.id)
        if new.order_key is not None:
            self._heads.setdefault(new.order_key, _head_due_at(state, due_at))
        self._counts.put(new.upstream, new.partner, state, size)
        used = self._used.setdefault(new.partner, [0, 0])
        used[0] += 1
        used[1] += size
        return Accepted(
            new.id, state=state, due_at=self._later(first_at), held_until=held_until, head_due_at=head_due_at,
            ahead=used[0] - 1,
        )  # fmt: skip

    def _later(self, due_at: float) -> float | None:
        return due_at if due_at > self._now else None

    def _keep_key(self, item: Acceptance, id_: str = "", *, queued: int = 0, memory: str | None = None) -> None:
        key, new = item.key, item.transaction
        if key is None:
            return
        before = self._keys.get(key.digest)
        if before is not None and before.size:
            self._counts.keep(before.upstream, before.partner, -before.size)
        self._keys[key.digest] = self._kept[key.digest] = KeyRow(
            key.digest, key.request, id_ or new.id, queued, None if queued else self._leased_until(item), None, memory,
            key.expires_at, new.partner, new.upstream, 0,
        )  # fmt: skip


def _size(new: NewTransaction, facts: str) -> int:
    """Return what *new* counts for its partner's bytes."""
    return len(new.body) + len(facts) + len(new.target)


def _head_due_at(state: State, due_at: float | None) -> float:
    """Return when the first of an ordering key, in *state*, is tried next: past when it is at work, else infinity."""
    return INFINITY if state in STOPPED else due_at or 0.0


def _continued(new: NewTransaction, again: Again, now: float) -> NewTransaction:
    """Return *new* as what someone tried before who was lost: it may have been applied, or be any moment."""
    return replace(
        new, id=again.id, state=WAITING, applied="unknown", tried=(lost_try(again.id, now),),
        memory=value_of(again.memory), due_at=now + new.rest_s,
    )  # fmt: skip


def _try(id_: str, number: int, tried: Attempt) -> Values:
    return (
        id_, number, tried.courier, tried.started_at, tried.ended_at, tried.outcome, tried.status, tried.code,
        tried.detail,
    )  # fmt: skip
