"""What the store that is to be replaced knows of who may not come in: from its files, and from its database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import select

from entrepot.identity.refused import Entry, Lift, Revocation, Switch, entry_of
from entrepot.identity.revocation import IDS, REVOCATIONS
from entrepot.identity.revoked_ids import RevokedIds, write_ids
from entrepot.identity.rows import revocation_of
from entrepot.identity.tokens import MAX_LIFETIME_S
from entrepot.store import identity as tables
from entrepot.store.engine import open_database


@dataclass(frozen=True, slots=True)
class Known:
    """What a database knows: what is revoked or disabled, and its operators, as rows."""

    entries: tuple[Entry, ...] = ()
    operators: tuple[dict[str, Any], ...] = ()


def known(path: Path) -> Known:
    """Return what the database at *path* knows; nothing when there is none. Raises StoreUnavailable."""
    if not path.exists():
        return Known()
    database = open_database(f"sqlite:///{quote(str(path))}")
    try:
        with database.reading() as session:
            revocations = [revocation_of(row) for row in session.scalars(select(tables.Revocation))]
            switches = [
                Switch(row.kind, row.name, disabled=True, at=row.disabled_at.timestamp(), by=row.disabled_by)
                for row in session.scalars(select(tables.DisabledCaller))
            ]
            revoked = select(tables.Credential).where(tables.Credential.revoked_at.is_not(None))
            keys = [_key(row) for row in session.scalars(revoked)]
            operators = session.execute(select(tables.Operator.__table__)).mappings()
            return Known((*revocations, *switches, *keys), tuple(map(dict, operators)))
    finally:
        database.close()


def _key(row: tables.Credential) -> Revocation:
    at = 0.0 if row.revoked_at is None else row.revoked_at.timestamp()
    return Revocation("key", row.key_id, at, at + MAX_LIFETIME_S)


def merge_revocations(present: Path, other: Path) -> None:
    """Add what the files of revocations in the directory *present* say to those in *other*.

    They stand in the order in which they were said, because the last word counts. Raises StoreUnavailable for a file
    that is damaged, OSError.
    """
    lines = [*_lines(other / REVOCATIONS), *_lines(present / REVOCATIONS)]
    if lines:
        (other / REVOCATIONS).write_bytes(b"".join(line + b"\n" for line in sorted(lines, key=_said_at)))
        (other / REVOCATIONS).chmod(0o600)
    found = [RevokedIds(path / IDS) for path in (present, other) if (path / IDS).exists()]
    if found:
        newest = max(found, key=lambda ids: ids.serial)
        records = {record for ids in found for record in ids.living(0.0)}
        # Only what both have looked at need not be looked at again.
        looked_at = min(ids.written_at for ids in found)
        write_ids(other / IDS, sorted(records), follows=newest.serial, written_at=looked_at)


def _lines(path: Path) -> Iterable[bytes]:
    # What stands after the last line end was never in force.
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _said_at(line: bytes) -> float:
    match entry_of(line):
        case Revocation(revoked_at=at) | Switch(at=at) | Lift(lifted_at=at):
            return at
        case None:
            return 0.0
