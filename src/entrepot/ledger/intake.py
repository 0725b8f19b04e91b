"""Accept work: many writes, one transaction of the database, an answer for each."""

from __future__ import annotations

import logging
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any, Literal

from sqlalchemy import Connection, exists, func, select

from entrepot.chassis.errors import Error
from entrepot.errors import StoreUnavailable
from entrepot.ledger import operate, reading
from entrepot.ledger.claim import FARTHEST_S
from entrepot.ledger.codec import kept_bytes, text_of, text_or_none, value_of
from entrepot.ledger.counts import Counts
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    Admission,
    AnswerOf,
    Claimed,
    Filters,
    Finished,
    GoOn,
    LeaseOf,
    MemoryOf,
    NewTransaction,
    Quota,
    Refused,
    Replayed,
    Sight,
)
from entrepot.ledger.idempotency import Again, KeyRow, judge
from entrepot.ledger.pauses import ends_of_holds, held_clients
from entrepot.ledger.settle import finish
from entrepot.ledger.statements import UNPASSED, ListStatement, RowInsert, Statement, Values, param
from entrepot.ledger.writer import Clock, Done, Handler, Writer, call_each
from entrepot.store.engine import Database
from entrepot.store.ledger import idempotency_keys, plans, queues, transactions

__all__ = ["AnswerOf", "Intake", "MemoryOf", "accept", "keep_answers", "keep_memories", "let_go"]

log = logging.getLogger(__name__)

_t, _k, _q = transactions.c, idempotency_keys.c, queues.c

_INSERT_PLANS = RowInsert(
    plans, plans.c.digest, plans.c.document, conflict=lambda insert: insert.on_conflict_do_nothing()
)
_INSERT = RowInsert(
    transactions, _t.id, _t.partner, _t.client, _t.endpoint, _t.upstream, _t.kind, _t.operation_id, _t.plan, _t.target,
    _t.facts, _t.body, _t.size, _t.order_key, _t.state, _t.applied, _t.reason, _t.due_at, _t.accepted_at,
    _t.expires_at, _t.attempts, _t.memory,
)  # fmt: skip
_KEEP_KEYS = RowInsert(
    idempotency_keys,
    *idempotency_keys.columns,
    conflict=lambda insert: insert.on_conflict_do_update(
        index_elements=["digest"], set_={one.name: insert.excluded[one.name] for one in idempotency_keys.columns}
    ),
)
_KEYS = ListStatement(_k.digest, lambda k: select(idempotency_keys).join(k, k.c.v == _k.digest))
_KNOWN = ListStatement(_t.id, lambda k: select(_t.id).join(k, k.c.v == _t.id))
_BUSY = ListStatement(_t.order_key, lambda k: select(k.c.v).where(exists().where(_t.order_key == k.c.v, UNPASSED)))
_USED = ListStatement(
    _q.partner,
    lambda k: (
        select(_q.partner, func.sum(_q.unfinished), func.sum(_q.bytes))
        .where(_q.partner.in_(select(k.c.v)))
        .group_by(_q.partner)
    ),
)
_ANSWER = Statement(
    idempotency_keys.update()
    .where(_k.digest == param("of", _k.digest))
    .values(answer=param("kept", _k.answer), leased_until=None),
    "kept", "of",
)  # fmt: skip
_NOTE = Statement(
    idempotency_keys.update().where(_k.digest == param("of", _k.digest)).values(memory=param("noted", _k.memory)),
    "noted", "of",
)  # fmt: skip
_LET_GO = Statement(
    idempotency_keys.update()
    .where(_k.digest == param("of", _k.digest), _k.answer.is_(None), _k.queued == 0)
    .values(leased_until=param("until", _k.leased_until)),
    "until", "of",
)  # fmt: skip
_FORGET = Statement(
    idempotency_keys.delete().where(_k.digest == param("of", _k.digest), _k.answer.is_(None), _k.queued == 0), "of"
)


def accept(connection: Connection, items: Sequence[Acceptance], now: float) -> list[Admission]:
    """Decide about *items* one after the other, write what is accepted, and return what became of each.

    It is on disk when the transaction of *connection* is committed, and not before.
    """
    batch = _Batch(connection, items, now)
    admissions = [batch.admit(item) for item in items]
    batch.write(connection)
    return admissions


def keep_answers(connection: Connection, items: Sequence[AnswerOf], _now: float) -> list[None]:
    """Keep each answer for the requests that bring its key again; free the key when there is no answer."""
    _ANSWER.run_each(connection, [(kept_bytes(one.answer), one.digest) for one in items if one.answer is not None])
    _FORGET.run_each(connection, [(one.digest,) for one in items if one.answer is None])
    return [None] * len(items)


def let_go(connection: Connection, items: Sequence[LeaseOf], _now: float) -> list[None]:
    """Let the requests that bring these keys again go on from the given moments."""
    _LET_GO.run_each(connection, [(one.until, one.digest) for one in items])
    return [None] * len(items)


def keep_memories(connection: Connection, items: Sequence[MemoryOf], _now: float) -> list[None]:
    """Keep what connectors noted before the first try of direct writes, for whoever goes on with their keys."""
    _NOTE.run_each(connection, [(text_of(one.memory), one.digest) for one in items])
    return [None] * len(items)


class _Batch:
    """What is known of the keys, ordering keys and partners of a batch, and what is to be written for it."""

    def __init__(self, connection: Connection, items: Sequence[Acceptance], now: float) -> None:
        self._now = now
        self._keys = {
            row[0]: KeyRow(*row)
            for row in _KEYS.rows(connection, (item.key.digest for item in items if item.key is not None))
        }
        self._known = {row[0] for row in _KNOWN.rows(connection, self._doubtful(items))}
        ordered = (item.transaction.order_key for item in items if item.transaction.order_key is not None)
        self._busy = {row[0] for row in _BUSY.rows(connection, ordered)}
        partners = {item.transaction.partner for item in items if item.when in {"always", "behind"}}
        self._used = {row[0]: [int(row[1]), int(row[2])] for row in _USED.rows(connection, partners)}
        self._held = held_clients(connection, {item.transaction.client for item in items}, now)
        new = {item.transaction.upstream for item in items if item.when in {"always", "behind"}}
        self._paused = ends_of_holds(connection, new, now)
        self._plans: dict[str, str] = {}
        self._rows: list[Values] = []
        self._kept: dict[str, KeyRow] = {}
        self._counts = Counts()

    def admit(self, item: Acceptance) -> Admission:
        """Decide about *item*, and note what is to be written."""
        if item.when == "handed-over":
            return self._take_over(item)
        verdict = judge(self._keys.get(item.key.digest), item.key, self._now) if item.key is not None else None
        if verdict is not None and not isinstance(verdict, Again):
            return verdict
        if verdict is not None and verdict.id in self._known:
            return Accepted(verdict.id, replayed=True)
        if item.when == "never":
            return self._let_go_on(item, verdict)
        facts = text_of(item.transaction.facts)
        # Also of what may go directly: it comes here after all when it is not answered in time.
        why = self._excess(item.transaction.partner, len(item.transaction.body) + len(facts), item.quota)
        if why is not None:
            return Refused(why)
        if item.when == "behind" and not self._is_in_the_way(item.transaction):
            return self._let_go_on(item, verdict)
        return self._queue(item, verdict, facts)

    def write(self, connection: Connection) -> None:
        """Write what was noted."""
        _INSERT_PLANS.run(connection, sorted(self._plans.items()))
        _INSERT.run(connection, self._rows)
        _KEEP_KEYS.run(connection, [_columns(row) for _, row in sorted(self._kept.items())])
        self._counts.write(connection)

    def _doubtful(self, items: Sequence[Acceptance]) -> Iterable[str]:
        """Return the ids that may be in the ledger already: of whoever came too late, or was lost."""
        handed_over = (item.transaction.id for item in items if item.when == "handed-over")
        lost = (row.transaction_id for row in self._keys.values() if not row.queued)
        return (*handed_over, *lost)

    def _is_in_the_way(self, new: NewTransaction) -> bool:
        return new.order_key in self._busy or self._paused[new.upstream] is not None

    def _let_go_on(self, item: Acceptance, again: Again | None) -> GoOn:
        if again is None:
            self._keep_key(item.key, item.transaction.id)
            return GoOn(item.transaction.id)
        self._keep_key(item.key, again.id, memory=again.memory)
        return GoOn(again.id, again=True, memory=value_of(again.memory))

    def _queue(self, item: Acceptance, again: Again | None, facts: str) -> Accepted:
        new = item.transaction if again is None else _continued(item.transaction, again)
        self._insert(new, facts)
        self._keep_key(item.key, new.id, queued=1)
        return Accepted(new.id, held_until=self._paused[new.upstream])

    def _take_over(self, item: Acceptance) -> Admission:
        """Insert what went directly and did not come to an end; unless another has meanwhile brought it to one."""
        new, facts = item.transaction, text_of(item.transaction.facts)
        kept = self._keys.get(item.key.digest) if item.key is not None else None
        is_own = kept is None or kept.transaction_id == new.id
        if item.key is not None and is_own:
            verdict = judge(kept, item.key, self._now)
            if isinstance(verdict, Replayed):
                return verdict
        if new.id in self._known:
            return Accepted(new.id, replayed=True)
        self._insert(new, facts)
        if is_own:
            self._keep_key(item.key, new.id, queued=1)
        return Accepted(new.id)

    def _excess(self, partner: str, size: int, quota: Quota) -> Literal["too-many", "too-large"] | None:
        count, used_bytes = self._used.get(partner, (0, 0))
        if count + 1 > quota.transactions:
            return "too-many"
        return "too-large" if used_bytes + size > quota.bytes else None

    def _insert(self, new: NewTransaction, facts: str) -> None:
        """Note the row of *new*, which waits for those before it with the same ordering key."""
        size = len(new.body) + len(facts)
        state, reason = new.state, new.reason
        due_at: float | None = min(new.due_at, self._now + FARTHEST_S)
        if new.client in self._held:
            state, reason = "held", "client"
        if state == "held" or new.order_key in self._busy:
            due_at = None
        self._plans[new.plan.digest] = new.plan.document
        self._rows.append((
            new.id, new.partner, new.client, new.endpoint, new.upstream, new.kind, new.operation_id, new.plan.digest,
            new.target, facts, new.body, size, new.order_key, state, new.applied, reason, due_at, new.accepted_at,
            new.expires_at, new.attempts, text_or_none(new.memory),
        ))  # fmt: skip
        self._known.add(new.id)
        if new.order_key is not None:
            self._busy.add(new.order_key)
        self._counts.add(new.upstream, new.partner, size)
        used = self._used.setdefault(new.partner, [0, 0])
        used[0] += 1
        used[1] += size

    def _keep_key(self, key: Claimed | None, id_: str, *, queued: int = 0, memory: str | None = None) -> None:
        if key is not None:
            until = None if queued else key.leased_until
            row = KeyRow(key.digest, key.request, id_, queued, until, None, memory, key.expires_at)
            self._keys[key.digest] = self._kept[key.digest] = row


# dataclasses.astuple copies what it returns, and takes 30 µs for it.
_columns: Callable[[KeyRow], Values] = attrgetter(*(one.name for one in idempotency_keys.columns))


def _continued(new: NewTransaction, again: Again) -> NewTransaction:
    """Return *new* as what someone tried before who was lost: it may have been applied."""
    memory = value_of(again.memory)
    return replace(new, id=again.id, state="waiting", applied="unknown", attempts=max(1, new.attempts), memory=memory)


class Intake:
    """What a worker of the gateway holds: the ledger's writer and a reader, each a thread.

    Every *done* is called on *loop*, with the result or the Error that came of it. *wake* is called, on the writer's
    thread, after each commit that gave couriers something to do.
    """

    def __init__(
        self, database: Database, loop: AbstractEventLoop, *, wake: Callable[[], None], clock: Clock = time.time
    ) -> None:
        self._database = database
        self._loop = loop
        self._wake = wake
        self._has_work = False
        self._writer = Writer(database, on_commit=self._committed, deliver=self._deliver, clock=clock)
        self._reader = ThreadPoolExecutor(1, "ledger-reader")

    def accept(self, item: Acceptance, done: Callable[[Admission | Error], object]) -> None:
        """Accept *item*."""
        self._submit(self._accept, item, done)

    def keep_answer(self, item: AnswerOf, done: Callable[[Error | None], object]) -> None:
        """Keep the answer of a direct write for its key, or free the key."""
        self._submit(keep_answers, item, done)

    def let_go(self, item: LeaseOf, done: Callable[[Error | None], object]) -> None:
        """Let whoever repeats a direct write of unknown outcome go on with it."""
        self._submit(let_go, item, done)

    def keep_memory(self, item: MemoryOf, done: Callable[[Error | None], object]) -> None:
        """Keep what the connector noted before the first try of a direct write."""
        self._submit(keep_memories, item, done)

    def finish(self, item: Finished, done: Callable[[bool | Error], object]) -> None:
        """Note that a write which was handed over has been delivered; see ``settle.finish``."""
        self._submit(self._finish, item, done)

    def cancel(self, id_: str, partner: str | None, done: Callable[[operate.Cancelled | Error], object]) -> None:
        """Cancel the transaction *id_* of *partner*; see ``operate.cancel``."""
        self._submit(self._cancel, (id_, partner), done)

    def read(self, id_: str, partner: str | None, done: Callable[[Sight | Error | None], object]) -> None:
        """Look at the transaction *id_* of *partner*; see ``reading.one``."""
        self._ask(partial(reading.one, id=id_, partner=partner), done)

    def list(self, filters: Filters, done: Callable[[Sequence[Sight] | Error], object]) -> None:
        """List the transactions that *filters* let through; see ``reading.listing``."""
        self._ask(partial(reading.listing, filters=filters), done)

    def close(self) -> None:
        """Finish what was submitted. Waits for it; the loop need not run meanwhile."""
        self._writer.close()
        self._reader.shutdown()

    def _accept(self, connection: Connection, items: Sequence[Acceptance], now: float) -> Sequence[Admission]:
        admissions = accept(connection, items, now)
        self._has_work |= any(isinstance(one, Accepted) and not one.replayed for one in admissions)
        return admissions

    def _cancel(
        self, connection: Connection, items: Sequence[tuple[str, str | None]], now: float
    ) -> Sequence[operate.Cancelled]:
        results = [operate.cancel(connection, id_, partner, now) for id_, partner in items]
        self._has_work |= "done" in results
        return results

    def _finish(self, connection: Connection, items: Sequence[Finished], now: float) -> Sequence[bool]:
        results = finish(connection, items, now)
        self._has_work |= any(results)
        return results

    def _submit(self, handler: Handler, item: Any, done: Done) -> None:
        try:
            self._writer.submit(handler, item, done)
        except StoreUnavailable as exc:
            self._deliver([partial(done, exc)])

    def _ask(self, read: Callable[[Connection], Any], done: Done) -> None:
        try:
            self._reader.submit(self._look, read, done)
        except RuntimeError:
            self._deliver([partial(done, StoreUnavailable("this process ends and reads nothing more"))])

    def _committed(self) -> None:
        # Of a batch that failed it may be left over; then couriers look once in vain.
        if self._has_work:
            self._has_work = False
            self._wake()

    def _look(self, read: Callable[[Connection], Any], done: Done) -> None:
        result: Any
        try:
            with self._database.reading() as session:
                result = read(session.connection())
        except Error as exc:
            result = exc
        except Exception:
            log.exception("the ledger cannot be read")
            result = Error()
        self._deliver([partial(done, result)])

    def _deliver(self, calls: Sequence[Callable[[], object]]) -> None:
        # A loop that is closed has nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call_each, calls)
