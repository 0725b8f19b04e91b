"""Forget: bodies some days after the end, rows some months after; and erase what someone may no longer have stored.

In small steps, because others wait for the database meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
from sqlalchemy import (
    CTE,
    ClauseElement,
    Connection,
    and_,
    case,
    exists,
    func,
    literal_column,
    not_,
    null,
    or_,
    select,
    text,
)

from entrepot.ledger.claim import FARTHEST_S
from entrepot.ledger.clients import release_rest
from entrepot.ledger.codec import bare, kept_answer, kept_bytes
from entrepot.ledger.counts import Counts
from entrepot.ledger.entries import Gone, Json
from entrepot.ledger.idempotency import KeyRow, lives_until
from entrepot.ledger.reading import ends
from entrepot.ledger.statements import ListStatement, Statement, param
from entrepot.ledger.states import DEAD, FINISHED
from entrepot.store.engine import wipe_freed
from entrepot.store.ledger import (
    HAS_ANSWER,
    HAS_BODY,
    HOLDS_FOLLOWERS,
    attempts,
    holds,
    idempotency_keys,
    plans,
    queues,
    transactions,
)

DAY_S = 86_400.0
KEPT_BYTES = 1 << 30
# Of a partner of whom too much is kept, so much stays; with all of it, the next pass would come at once.
KEPT_SHARE = 0.9
# So much of its target stays in a row that has lost its body: enough to tell what it was.
TARGET_CHARACTERS = 256
# Stands in place of the target of what was erased.
ERASED = "(erased)"

_t = transactions.c
_k = idempotency_keys.c
_q = queues.c
_follower = transactions.alias("follower")
_FOLLOWER_WAITS = text(HOLDS_FOLLOWERS.format("follower."))
_HAS_BODY = text(HAS_BODY.format("transactions."))
_HAS_ANSWER = text(HAS_ANSWER.format("idempotency_keys."))
_COUNTED = (_t.seq, _t.upstream, _t.partner, _t.state, _t.size)
_SEARCHED = (_t.facts, _t.body, _t.answer, _t.target)
_KEY_COUNTED = (_k.digest, _k.upstream, _k.partner, _k.size)
# Without the answer, which may be long.
_KEY_LIFE = tuple(null().label("answer") if one.name == "answer" else one for one in idempotency_keys.columns)


def _update(**values: Any) -> Callable[[CTE], ClauseElement]:
    return lambda k: transactions.update().where(_t.seq.in_(select(k.c.v))).values(**values)


_EMPTY = {"body": null(), "answer": null(), "memory": null(), "facts": literal_column("'{}'"), "size": 0}
_DROP_BODIES = ListStatement(_t.seq, _update(**_EMPTY, target=func.substr(_t.target, 1, TARGET_CHARACTERS)))
# The digest of what it was about stays with a dead one only, which others may follow.
_ABOUT = case((_t.state == DEAD, _t.order_key), else_=null())
_ERASE = ListStatement(
    _t.seq, _update(**_EMPTY, problem=null(), order_key=_ABOUT, target=literal_column(f"'{ERASED}'"))
)
_HUSH = ListStatement(
    attempts.c.transaction_seq,
    lambda k: attempts.update().where(attempts.c.transaction_seq.in_(select(k.c.v))).values(detail=""),
)
_STRIP_KEY = Statement(
    idempotency_keys.update()
    .where(_k.digest == param("of", _k.digest))
    .values(answer=param("kept", _k.answer), size=0, memory=null()),
    "kept", "of",
)  # fmt: skip
_PUT_OFF = Statement(
    idempotency_keys.update()
    .where(_k.digest == param("of", _k.digest))
    .values(expires_at=param("until", _k.expires_at)),
    "until", "of",
)  # fmt: skip
_HASTEN = ListStatement(_t.seq, _update(due_at=param("now", _t.due_at), rests_until=null()), "now")
_DROP_ROWS = ListStatement(_t.seq, lambda k: transactions.delete().where(_t.seq.in_(select(k.c.v))))
_DROP_PLANS = ListStatement(plans.c.digest, lambda k: plans.delete().where(plans.c.digest.in_(select(k.c.v))))
_DROP_KEYS = ListStatement(_k.digest, lambda k: idempotency_keys.delete().where(_k.digest.in_(select(k.c.v))))


@dataclass(frozen=True, slots=True)
class Retention:
    """How long bodies and answers of what was delivered or cancelled are kept, and how long rows of all that ended.

    *keys_s* is how long a key is remembered after its transaction was over.

    Of a partner *kept_bytes* are kept at most, answers for keys included; then the oldest go before their time.
    """

    bodies_s: float = 7 * DAY_S
    rows_s: float = 90 * DAY_S
    keys_s: float = DAY_S
    kept_bytes: int = KEPT_BYTES


class Eraser:
    """Takes personal data out of what is finished: of a *partner*, or where a field has a value, or both.

    That is out of transactions, their attempts, and the answers that are kept for the keys of direct writes; their
    repetitions are answered with the status alone.

    *match* is a field and its value as text: a public field of the body or the answer, ``lines.product`` for one
    inside, or a value of the path or the query. Made for one pass; ``step`` is called until ``is_done``. *left* is how
    many transactions would have been erased if they were finished.
    """

    def __init__(self, partner: str | None = None, match: tuple[str, str] | None = None) -> None:
        self.is_done = False
        self.left = 0
        self._partner = partner
        self._match = match
        self._seq: int | None = 0
        self._digest = ""

    def step(self, connection: Connection, limit: int) -> int:
        """Look at the next *limit* at most, and return how many were erased."""
        wipe_freed(connection)
        counts = Counts()
        looked, erased = self._transactions(connection, limit, counts) if self._seq is not None else (0, 0)
        if looked < limit:
            erased += self._answers(connection, limit - looked, counts)
        counts.write(connection)
        return erased

    def _transactions(self, connection: Connection, limit: int, counts: Counts) -> tuple[int, int]:
        """Go through *limit* transactions at most, and return how many there were, and how many were erased."""
        searched = _SEARCHED if self._match is not None else ()
        wanted = select(*_COUNTED, *searched).where(_t.seq > self._seq, _t.target != ERASED)
        if self._partner is not None:
            wanted = wanted.where(_t.partner == self._partner)
        rows = connection.execute(wanted.order_by(_t.seq).limit(limit)).all()
        fitting = [row for row in rows if self._match is None or _has(row, *self._match)]
        found = [row for row in fitting if row.state in FINISHED]
        self.left += len(fitting) - len(found)
        _HUSH.run(connection, (row.seq for row in found))
        _ERASE.run(connection, _taken(found, counts))
        self._seq = rows[-1].seq if len(rows) == limit else None
        return len(rows), len(found)

    def _answers(self, connection: Connection, limit: int, counts: Counts) -> int:
        """Go through *limit* answers that are kept for keys at most, and return how many were erased."""
        wanted = select(*_KEY_COUNTED).where(_HAS_ANSWER, _k.digest > self._digest)
        if self._partner is not None:
            wanted = wanted.where(_k.partner == self._partner)
        rows = connection.execute(wanted.order_by(_k.digest).limit(limit)).all()
        found = [row for row in rows if self._match is None or _tells(_answer(connection, row.digest), *self._match)]
        _strip(connection, found, "erased", counts)
        self.is_done = len(rows) < limit
        self._digest = rows[-1].digest if rows else self._digest
        return len(found)


def prune(connection: Connection, policy: Retention, now: float, limit: int) -> int:
    """Forget what *policy* says, at most *limit* of each kind, and return how much; 0: there is nothing more to do.

    A dead transaction that others follow stays.
    """
    wipe_freed(connection)
    counts = Counts()
    forgotten = _drop_bodies(connection, policy, now, limit, counts)
    forgotten += _drop_rows(connection, now - policy.rows_s, limit, counts)
    forgotten += _drop_plans(connection, limit)
    forgotten += _drop_keys(connection, now, policy.keys_s, limit, counts)
    counts.write(connection)
    late = _impossibly_late(connection, now, limit)
    _HASTEN.run(connection, late, now)
    connection.execute(queues.delete().where(_q.unfinished <= 0, _q.dead_bytes <= 0, _q.kept_bytes <= 0))
    connection.execute(holds.delete().where(holds.c.until < now, holds.c.reason != "client"))
    freed = release_rest(connection, now, limit)
    return forgotten + len(late) + freed


def _drop_bodies(connection: Connection, policy: Retention, now: float, limit: int, counts: Counts) -> int:
    """Drop what is too old, then the oldest of partners of whom too much is kept; return of how many."""
    kept = func.sum(_q.kept_bytes)
    partners = connection.execute(select(_q.partner, kept).group_by(_q.partner).having(kept > 0)).all()
    dropped = 0
    for partner, total in partners:
        old = _bodies(connection, partner, limit - dropped, before=now - policy.bodies_s)
        _DROP_BODIES.run(connection, _taken(old, counts))
        dropped += len(old)
        left = int(total) - sum(row.size for row in old)
        if left > policy.kept_bytes:
            dropped += _make_room(
                connection, partner, left - int(policy.kept_bytes * KEPT_SHARE), limit - dropped, counts
            )
    return dropped


def _make_room(connection: Connection, partner: str, size: int, limit: int, counts: Counts) -> int:
    """Drop bodies, and then answers for keys, of *partner* until *size* bytes are free; return of how many."""
    bodies = _up_to(size, _bodies(connection, partner, limit))
    _DROP_BODIES.run(connection, _taken(bodies, counts))
    wanted = select(*_KEY_COUNTED).where(_HAS_ANSWER, _k.partner == partner)
    answers = connection.execute(wanted.order_by(_k.expires_at).limit(limit - len(bodies))).all()
    found = _up_to(size - sum(row.size for row in bodies), answers)
    _strip(connection, found, "room", counts)
    return len(bodies) + len(found)


def _bodies(connection: Connection, partner: str, limit: int, *, before: float | None = None) -> Sequence[Any]:
    """Return the oldest *limit* transactions of *partner* that are over, before *before*, and have a body."""
    wanted = select(*_COUNTED).where(_HAS_BODY, _t.partner == partner)
    if before is not None:
        wanted = wanted.where(_t.finished_at < before)
    return connection.execute(wanted.order_by(_t.finished_at).limit(limit)).all()


def _up_to(size: int, rows: Sequence[Any]) -> list[Any]:
    """Return as many of *rows*, from the first on, as have *size* together."""
    found: list[Any] = []
    for row in rows:
        if size <= 0:
            break
        found.append(row)
        size -= row.size
    return found


def _taken(rows: Iterable[Any], counts: Counts) -> list[int]:
    """Return the ``seq`` of each of *rows*, which lose all that counts."""
    found = []
    for row in rows:
        counts.take(row.upstream, row.partner, row.state, row.size)
        found.append(row.seq)
    return found


def _strip(connection: Connection, rows: Sequence[Any], why: Gone, counts: Counts) -> None:
    """Keep nothing but the status of the answers for these keys: without one, a repetition would be a new request."""
    for row in rows:
        counts.keep(row.upstream, row.partner, -row.size)
        answer = kept_answer(_answer(connection, row.digest))
        if answer is not None:
            _STRIP_KEY.run(connection, kept_bytes(bare(answer, why)), row.digest)


def _answer(connection: Connection, digest: str) -> bytes | None:
    """Return the answer that is kept for one key: those of many at once may fill the memory."""
    return connection.scalar(select(_k.answer).where(_k.digest == digest))


def _drop_rows(connection: Connection, before: float, limit: int, counts: Counts) -> int:
    same_key = and_(_follower.c.order_key == _t.order_key, _follower.c.seq > _t.seq)
    is_needed = and_(_t.state == DEAD, exists().where(same_key, _FOLLOWER_WAITS))
    old = select(*_COUNTED).where(_t.finished_at < before, not_(is_needed))
    rows = connection.execute(old.order_by(_t.finished_at).limit(limit)).all()
    _DROP_ROWS.run(connection, _taken(rows, counts))
    return len(rows)


def _drop_plans(connection: Connection, limit: int) -> int:
    """Drop plans that no transaction names any more."""
    unnamed = select(plans.c.digest).where(not_(exists().where(_t.plan == plans.c.digest)))
    found = connection.scalars(unnamed.limit(limit)).all()
    _DROP_PLANS.run(connection, found)
    return len(found)


def _drop_keys(connection: Connection, now: float, life_s: float, limit: int, counts: Counts) -> int:
    """Drop keys whose life is over, put off those that are needed yet, and return how many both are."""
    old = select(*_KEY_LIFE).where(_k.expires_at < now).order_by(_k.expires_at).limit(limit)
    rows = [KeyRow(**row) for row in connection.execute(old).mappings()]
    ended_at = ends(connection, (row.transaction_id for row in rows))
    over, needed = [], []
    for row in rows:
        until = lives_until(row, life_s=life_s, ended_at=ended_at.get(row.transaction_id))
        if until < now:
            over.append(row.digest)
            counts.keep(row.upstream, row.partner, -row.size)
        else:
            # Nobody knows when what is unfinished ends: it is asked again.
            needed.append((min(until, now + life_s), row.digest))
    _DROP_KEYS.run(connection, over)
    _PUT_OFF.run_each(connection, needed)
    return len(rows)


def _impossibly_late(connection: Connection, now: float, limit: int) -> list[int]:
    """Return what a clock that was wrong has put off, or has noted to rest.

    What rests for too long is put off again and again, each time by ``FARTHEST_S``. So it is looked for in what is due
    late: all that waits would be too much.
    """
    after = now + FARTHEST_S
    late = and_(_t.due_at > now + FARTHEST_S / 2, or_(_t.due_at > after, _t.rests_until > after))
    some = exists().where(_t.upstream == _q.upstream, _t.partner == _q.partner, late)
    found: list[int] = []
    for upstream, partner in connection.execute(select(_q.upstream, _q.partner).where(some)).all():
        here = select(_t.seq).where(_t.upstream == upstream, _t.partner == partner, late)
        found += connection.scalars(here.limit(limit - len(found)))
    return found


def _has(row: Any, field: str, value: str) -> bool:
    """Tell whether *field* of the body, of the path, of the query, or of what was answered, is *value*."""
    if orjson.loads(row.facts).get("variables", {}).get(field) == value:
        return True
    if (field, value) in parse_qsl(row.target.partition("?")[2], keep_blank_values=True):
        return True
    return _says(row.body, field, value) or _tells(row.answer, field, value)


def _tells(stored: bytes | None, field: str, value: str) -> bool:
    """Tell whether *field* of an answer, which may be in an envelope, is *value*."""
    answer = kept_answer(stored)
    return answer is not None and (_says(answer.body, field, value) or _says(answer.body, f"data.{field}", value))


def _says(body: bytes | None, field: str, value: str) -> bool:
    try:
        document = orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return False
    return value in map(_text, _values_at(document, field.split(".")))


def _values_at(value: Json, path: list[str]) -> Iterator[Json]:
    if isinstance(value, list):
        for each in value:
            yield from _values_at(each, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:])


def _text(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
