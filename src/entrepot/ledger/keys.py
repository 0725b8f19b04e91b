"""The rows of idempotency keys: looked up, written with what is accepted, and what is kept for repetitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, Connection, and_, select

from entrepot.ledger.codec import bare, bounded, kept_bytes, text_of
from entrepot.ledger.counts import Counts, kept_bytes_of
from entrepot.ledger.entries import AnswerOf, LeaseOf, MemoryOf
from entrepot.ledger.idempotency import KeyRow
from entrepot.ledger.retention import KEPT_BYTES
from entrepot.ledger.statements import ListStatement, RowInsert, Statement, Values, param
from entrepot.store.ledger import idempotency_keys

__all__ = ["AnswerOf", "LeaseOf", "MemoryOf", "keep_answers", "keep_memories", "known_keys", "let_go", "write_keys"]

_k = idempotency_keys.c


def _key_insert(*columns: Column[Any]) -> RowInsert:
    """Return the insert of keys of which *columns* are given; the others get their defaults, also in rows there are."""
    return RowInsert(
        idempotency_keys,
        *columns,
        conflict=lambda insert: insert.on_conflict_do_update(
            index_elements=["digest"], set_={one.name: insert.excluded[one.name] for one in idempotency_keys.columns}
        ),
    )


# Whose key it is matters for the answer that may be kept for it; the answer of what is queued is the transaction's.
_OF_ANSWERS = frozenset({"partner", "upstream", "size"})
_QUEUED_COLUMNS = tuple(one for one in idempotency_keys.columns if one.name not in _OF_ANSWERS)
_KEEP_KEYS, _KEEP_QUEUED_KEYS = _key_insert(*idempotency_keys.columns), _key_insert(*_QUEUED_COLUMNS)
_KEYS = ListStatement(_k.digest, lambda k: select(idempotency_keys).join(k, k.c.v == _k.digest))
_ANSWER = Statement(
    idempotency_keys.update()
    .where(_k.digest == param("of", _k.digest))
    .values(answer=param("kept", _k.answer), size=param("bytes", _k.size), leased_until=None),
    "kept", "bytes", "of",
)  # fmt: skip
# What is queued or answered has no lease any more, and whoever came after the end of this one has another.
_IS_HELD = and_(_k.digest == param("of", _k.digest), _k.leased_until == param("held", _k.leased_until))
_NOTE = Statement(
    idempotency_keys.update().where(_IS_HELD).values(memory=param("noted", _k.memory)), "noted", "of", "held"
)
_LET_GO = Statement(
    idempotency_keys.update().where(_IS_HELD).values(leased_until=param("until", _k.leased_until)),
    "until", "of", "held",
)  # fmt: skip
_FORGET = Statement(idempotency_keys.delete().where(_IS_HELD), "of", "held")


# dataclasses.astuple copies what it returns, and takes 30 µs for it.
_columns: Callable[[KeyRow], Values] = attrgetter(*(one.name for one in idempotency_keys.columns))
_queued_columns: Callable[[KeyRow], Values] = attrgetter(*(one.name for one in _QUEUED_COLUMNS))


def known_keys(connection: Connection, digests: Iterable[str]) -> dict[str, KeyRow]:
    """Return what is known of the keys with *digests*."""
    return {row[0]: KeyRow(*row) for row in _KEYS.rows(connection, digests)}


def write_keys(connection: Connection, rows: Iterable[KeyRow]) -> None:
    """Write *rows*, in place of those that there are of the same keys."""
    kept = sorted(rows, key=attrgetter("digest"))
    _KEEP_QUEUED_KEYS.run(connection, [_queued_columns(row) for row in kept if row.queued])
    _KEEP_KEYS.run(connection, [_columns(row) for row in kept if not row.queued])


def keep_answers(
    connection: Connection, items: Sequence[AnswerOf], _now: float, most_bytes: int = KEPT_BYTES
) -> list[None]:
    """Keep each answer for the requests that bring its key again.

    Of a partner of whom *most_bytes* are kept already, nothing but the status of an answer is.
    """
    known = known_keys(connection, (one.digest for one in items))
    used = kept_bytes_of(connection, {row.partner for row in known.values()})
    counts, rows = Counts(), []
    for one in items:
        row = known.get(one.digest)
        # The answer of what was queued meanwhile is the transaction's.
        if row is None or row.queued:
            continue
        is_room = used.get(row.partner, 0) < most_bytes
        answer = bounded(one.answer) if is_room else bare(one.answer, "room")
        kept = kept_bytes(answer)
        size = len(kept or b"") if answer.gone is None else 0
        counts.keep(row.upstream, row.partner, size - row.size)
        used[row.partner] = used.get(row.partner, 0) + size - row.size
        row.size = size
        rows.append((kept, size, one.digest))
    _ANSWER.run_each(connection, rows)
    counts.write(connection)
    return [None] * len(items)


def let_go(connection: Connection, items: Sequence[LeaseOf], _now: float) -> list[None]:
    """Let the requests that bring these keys again go on from the given moments, or be new ones."""
    _LET_GO.run_each(connection, [(one.until, one.digest, one.leased_until) for one in items if one.until is not None])
    _FORGET.run_each(connection, [(one.digest, one.leased_until) for one in items if one.until is None])
    return [None] * len(items)


def keep_memories(connection: Connection, items: Sequence[MemoryOf], _now: float) -> list[None]:
    """Keep what connectors noted before the first try of direct writes, for whoever goes on with their keys."""
    _NOTE.run_each(connection, [(text_of(one.memory), one.digest, one.leased_until) for one in items])
    return [None] * len(items)
