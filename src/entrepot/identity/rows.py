"""Revocations and disabled callers as rows, for operators; each change with its entry in the audit log.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from entrepot.identity.refused import NEVER, Entry, Lift, Revocation, Switch
from entrepot.store import audit
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Change

_AUDITED = {"jti": "token", "client": "client", "partner": "partner", "all": "tokens"}


def write_down(session: Session, entry: Entry, actor: Actor) -> bool:
    """Make the rows say what *entry* does, done by *actor*; return False when they did, or said more."""
    if isinstance(entry, Switch):
        return _write_switch(session, entry, actor)
    if isinstance(entry, Lift):
        return _write_lift(session, entry, actor)
    return _write_revocation(session, entry, actor)


def _write_switch(session: Session, switch: Switch, actor: Actor) -> bool:
    same = (tables.DisabledCaller.kind == switch.kind, tables.DisabledCaller.name == switch.value)
    row = session.scalar(select(tables.DisabledCaller).where(*same))
    if switch.disabled == (row is not None):
        return False
    if switch.disabled:
        session.add(
            tables.DisabledCaller(
                kind=switch.kind, name=switch.value, disabled_at=moment(switch.at), disabled_by=actor.name
            )
        )
    else:
        session.execute(delete(tables.DisabledCaller).where(*same))
    change = Change(
        "disable" if switch.disabled else "enable", switch.kind, switch.value, before={"disabled": not switch.disabled},
        after={"disabled": switch.disabled},
    )  # fmt: skip
    audit.append(session, actor, change, at=moment(switch.at))
    return True


def _write_lift(session: Session, lift: Lift, actor: Actor) -> bool:
    row = session.scalar(
        select(tables.Revocation).where(tables.Revocation.kind == lift.kind, tables.Revocation.value == lift.value)
    )
    if row is None and lift.cutoff == NEVER:
        return False
    # A row may be missing: what was revoked while the database was away is lifted all the same.
    before = {"up_to": moment(lift.cutoff).isoformat()} if row is None else _shown(row)
    if row is not None:
        session.delete(row)
    change = Change("lift", _AUDITED[lift.kind], lift.value or "all", before=before)
    audit.append(session, actor, change, at=moment(lift.lifted_at))
    return True


def _write_revocation(session: Session, revocation: Revocation, actor: Actor) -> bool:
    same = (tables.Revocation.kind == revocation.kind, tables.Revocation.value == revocation.value)
    row = session.scalar(select(tables.Revocation).where(*same))
    cutoff = None if revocation.cutoff is None else moment(revocation.cutoff)
    if row is not None and (cutoff is None or row.cutoff is None or row.cutoff >= cutoff):
        return False  # a token is revoked once; the first date stays
    before = None if row is None else _shown(row)
    if row is None:
        row = tables.Revocation(kind=revocation.kind, value=revocation.value)
        session.add(row)
    row.cutoff = cutoff
    row.revoked_at = moment(revocation.revoked_at)
    row.expires_at = moment(revocation.expires_at)
    row.revoked_by = actor.name
    change = Change("revoke", _AUDITED[revocation.kind], revocation.value or "all", before=before, after=_shown(row))
    audit.append(session, actor, change, at=row.revoked_at)
    return True


def _shown(row: tables.Revocation) -> Mapping[str, Any]:
    return {
        "revoked_at": row.revoked_at.isoformat(),
        "up_to": None if row.cutoff is None else row.cutoff.isoformat(),
    }


def revocation_of(row: tables.Revocation) -> Revocation:
    """Return what *row* says."""
    cutoff = None if row.cutoff is None else int(row.cutoff.timestamp())
    return Revocation(
        row.kind, row.value, row.revoked_at.timestamp(), row.expires_at.timestamp(), cutoff, row.revoked_by
    )


def moment(seconds: float) -> datetime:
    """Return the time, in UTC, that is *seconds* after the beginning of 1970."""
    return datetime.fromtimestamp(seconds, UTC)
