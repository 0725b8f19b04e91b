"""Make the revocations in the files and those in the database agree: either may have been lost or away.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from entrepot.chassis.operation import current_operation_id
from entrepot.identity.refused import Entry, Lift, Revocation, Switch
from entrepot.identity.revocation import Revocations
from entrepot.identity.rows import moment, revocation_of, write_down
from entrepot.store import identity as tables
from entrepot.store.audit import Actor
from entrepot.store.engine import Database

# How many are read from the database, and appended to the file, at once.
STEP = 20_000
# How many names one statement asks for, and one transaction writes down.
WRITE_STEP = 500
# What came at most so long before the ids were gathered is compared once more, for the sake of clocks.
OVERLAP_S = 86_400.0

_t = tables.Revocation

Moments = Mapping[tuple[str, str], datetime]
"""Since when something holds, by its kind and name."""


def restore(database: Database, revocations: Revocations, now: float) -> int:
    """Put what the database alone knows back into the file, in force; return how much it was.

    Of single tokens only those are looked at that came since the ids were gathered, unless these were lost. Raises
    StoreUnavailable.
    """
    revocations.refresh()
    since = max(0.0, revocations.gathered_at - OVERLAP_S)
    is_living = _t.expires_at > moment(now)
    named = select(_t).where(is_living, _t.kind != "jti")
    with database.reading() as session:
        cutoffs = [one for one in map(revocation_of, session.scalars(named)) if not _is_lifted(one, revocations)]
        count = revocations.add_all([*cutoffs, *_switches(session, revocations)])
        tokens = select(_t.value).where(is_living, _t.kind == "jti", _t.revoked_at >= moment(since))
        # Past the ORM, which takes as long for a million of them as the database.
        found = session.connection().scalars(tokens, execution_options={"yield_per": STEP})
        for jtis in found.partitions(STEP):
            missing = sorted(revocations.missing(jtis))
            count += revocations.add_all(list(_tokens(session, missing))) if missing else 0
    return count


def write_back(database: Database, revocations: Revocations, now: float) -> int:
    """Write down what was put into the file while the database was away; return how much it was.

    Rows of what the file knows to have been enabled or lifted later go away. Raises StoreUnavailable.
    """
    entries = _wanted(revocations.entries(), now)
    steps = (entries[start : start + WRITE_STEP] for start in range(0, len(entries), WRITE_STEP))
    return sum(_write_missing(database, step, revocations) for step in steps)


def _is_lifted(revocation: Revocation, revocations: Revocations) -> bool:
    # A database from a backup does not know of it.
    return revocations.was_lifted_since(revocation.kind, revocation.value, revocation.revoked_at)


def _switches(session: Session, revocations: Revocations) -> Iterator[Switch]:
    for row in session.scalars(select(tables.DisabledCaller)):
        at = row.disabled_at.timestamp()
        # A database from a backup does not know that it was enabled later.
        if not revocations.was_enabled_since(row.kind, row.name, at):
            yield Switch(row.kind, row.name, disabled=True, at=at, by=row.disabled_by)


def _tokens(session: Session, jtis: Sequence[str]) -> Iterator[Revocation]:
    wanted = select(_t.value, _t.revoked_at, _t.expires_at, _t.revoked_by).where(_t.kind == "jti")
    for start in range(0, len(jtis), WRITE_STEP):
        for row in session.execute(wanted.where(_t.value.in_(jtis[start : start + WRITE_STEP]))):
            revoked_at, expires_at = row.revoked_at.timestamp(), row.expires_at.timestamp()
            yield Revocation("jti", row.value, revoked_at, expires_at, by=row.revoked_by)


def _wanted(entries: Collection[Entry], now: float) -> list[Entry]:
    revoked: dict[tuple[str, str], Revocation] = {}
    lifts: dict[tuple[str, str], Lift] = {}
    switches: dict[tuple[str, str], Switch] = {}
    for one in entries:
        name = (one.kind, one.value)
        # Only the last line about a client or partner is true.
        if isinstance(one, Switch):
            switches[name] = one
        elif isinstance(one, Lift):
            lifts[name] = one
            revoked.pop(name, None)
        # Secrets and API keys have rows of their own (``entrepot.identity.credentials``).
        elif one.kind != "key" and one.expires_at > now and (one.cutoff or 0) >= _cutoff_of(revoked.get(name)):
            revoked[name] = one
    return [*lifts.values(), *revoked.values(), *switches.values()]


def _cutoff_of(revocation: Revocation | None) -> int:
    return 0 if revocation is None else revocation.cutoff or 0


def _write_missing(database: Database, entries: Sequence[Entry], revocations: Revocations) -> int:
    with database.reading() as session:
        tokens = _known_tokens(session, [entry.value for entry in entries if entry.kind == "jti"])
        callers = _disabled_callers(session, [entry.value for entry in entries if isinstance(entry, Switch)])
        cutoffs = _cutoffs(session, [entry.value for entry in entries if isinstance(entry, Lift)])
    missing = [entry for entry in entries if _is_missing(entry, tokens, callers, cutoffs)]
    if not missing:
        return 0
    operation_id = current_operation_id.get() or ""
    with database.transaction() as session:
        # Whoever took it back since the file was read has written that down, and this must not come after it.
        revocations.refresh()
        wanted = [entry for entry in missing if isinstance(entry, Lift) or revocations.holds(entry)]
        return sum(write_down(session, entry, Actor(entry.by, "system", operation_id)) for entry in wanted)


def _is_missing(entry: Entry, tokens: Collection[str], callers: Moments, cutoffs: Moments) -> bool:
    if isinstance(entry, Revocation):
        return entry.kind != "jti" or entry.value not in tokens
    if isinstance(entry, Lift):
        revoked_at = cutoffs.get((entry.kind, entry.value))
        return revoked_at is not None and revoked_at < moment(entry.lifted_at)
    disabled_at = callers.get((entry.kind, entry.value))
    if entry.disabled:
        return disabled_at is None
    # Another process may have disabled it since the file was read.
    return disabled_at is not None and disabled_at < moment(entry.at)


def _known_tokens(session: Session, jtis: Collection[str]) -> set[str]:
    return set(session.scalars(select(_t.value).where(_t.kind == "jti", _t.value.in_(jtis)))) if jtis else set()


def _cutoffs(session: Session, names: Collection[str]) -> Moments:
    wanted = select(_t).where(_t.kind != "jti", _t.value.in_(names))
    return {(row.kind, row.value): row.revoked_at for row in session.scalars(wanted)} if names else {}


def _disabled_callers(session: Session, names: Collection[str]) -> Moments:
    table = tables.DisabledCaller
    wanted = select(table).where(table.name.in_(names))
    return {(row.kind, row.name): row.disabled_at for row in session.scalars(wanted)} if names else {}
