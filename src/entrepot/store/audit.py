"""The audit log: who changed what, from where, and what it was before. Rows are added and never changed.

The database itself refuses to change or delete them (triggers of migration s1_0004).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    insert,
    select,
)
from sqlalchemy.orm import Session

from entrepot.store.base import Base, UtcDateTime, utc_now

Face = Literal["command", "console", "portal", "system"]
FACES = get_args(Face)

audit_entries = Table(
    "audit_entries",
    Base.metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, comment="The order of changes."),
    Column("at", UtcDateTime, nullable=False, comment="When; UTC."),
    Column("actor", String(255), nullable=False, comment="Name of the operator, client or user of the host."),
    Column("face", String(8), nullable=False, comment="command, console, portal or system."),
    Column("source", String(64), nullable=False, comment="The address it came from; empty on the host itself."),
    Column("operation_id", String(36), nullable=False, comment="Of the request or command."),
    Column("action", String(40), nullable=False, comment="Such as apply, revoke, disable, rotate."),
    Column("kind", String(40), nullable=False, comment="What was changed: catalog, client, key, operator, …"),
    Column("name", Text, nullable=False, comment="Which one."),
    Column("before", JSON(none_as_null=True), comment="As it was; null when it was not there. Never a secret."),
    Column("after", JSON(none_as_null=True), comment="As it is; null when it is gone. Never a secret."),
    CheckConstraint("face IN ('command', 'console', 'portal', 'system')", name="face"),
    Index("ix_audit_entries_at", "at"),
    Index("ix_audit_entries_kind_name", "kind", "name"),
    Index("ix_audit_entries_actor", "actor"),
    comment="Who changed what; append-only.",
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: *name* at a *face*, with the request or command *operation_id*, from *source*."""

    name: str
    face: Face
    operation_id: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What an actor did: *action* on the *kind* of thing called *name*, which was *before* and is *after*.

    Neither holds a secret, a token or a password.
    """

    action: str
    kind: str
    name: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def append(store: Session | Connection, actor: Actor, change: Change, *, at: datetime | None = None) -> None:
    """Write *change* by *actor* down, in the database transaction of the change itself; *at* is now by default."""
    append_all(store, actor, [change], at=at)


def append_all(
    store: Session | Connection, actor: Actor, changes: Iterable[Change], *, at: datetime | None = None
) -> None:
    """Do the same for all *changes* at once."""
    by = {
        "at": at or utc_now(),
        "actor": actor.name[:255],
        "face": actor.face,
        "source": actor.source,
        "operation_id": actor.operation_id,
    }
    rows = [{**by, **_columns(change)} for change in changes]
    if rows:
        store.execute(insert(audit_entries), rows)


def _columns(change: Change) -> dict[str, Any]:
    return {
        "action": change.action,
        "kind": change.kind,
        "name": change.name,
        "before": None if change.before is None else dict(change.before),
        "after": None if change.after is None else dict(change.after),
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: each that is not None must fit, and the entry lie from *since* to before *until*."""

    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A change that was written down; *seq* says where it stands in the order of all."""

    seq: int
    at: datetime
    actor: Actor
    change: Change

    def as_json(self) -> dict[str, Any]:
        """Return the entry as commands and the console show it; times are RFC 3339."""
        return {
            "seq": self.seq,
            "at": self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "actor": self.actor.name,
            "face": self.actor.face,
            "source": self.actor.source,
            "operation_id": self.actor.operation_id,
            "action": self.change.action,
            "kind": self.change.kind,
            "name": self.change.name,
            "before": self.change.before,
            "after": self.change.after,
        }


def entries(session: Session, wanted: Wanted, limit: int, *, offset: int = 0) -> list[Entry]:
    """Return at most *limit* entries, the latest first, from the one after *offset* others on."""
    c = audit_entries.c
    fitting = select(audit_entries)
    named = ((c.actor, wanted.actor), (c.action, wanted.action), (c.kind, wanted.kind), (c.name, wanted.name))
    for column, value in named:
        if value is not None:
            fitting = fitting.where(column == value)
    if wanted.since is not None:
        fitting = fitting.where(c.at >= wanted.since)
    if wanted.until is not None:
        fitting = fitting.where(c.at < wanted.until)
    return [_entry(row) for row in session.execute(fitting.order_by(c.seq.desc()).offset(offset).limit(limit))]


def _entry(row: Any) -> Entry:
    actor = Actor(row.actor, row.face, row.operation_id, row.source)
    return Entry(row.seq, row.at, actor, Change(row.action, row.kind, row.name, row.before, row.after))
