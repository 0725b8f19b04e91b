"""The catalog in force and its revisions, in the database; the snapshot file is made of the newest one."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import orjson
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from entrepot.catalog.check import check
from entrepot.catalog.definitions import Catalog
from entrepot.catalog.fields import resolve
from entrepot.catalog.model_types import Types
from entrepot.catalog.snapshot import read_revision, write_snapshot
from entrepot.catalog.tree import rooted
from entrepot.catalog.written import Document
from entrepot.chassis.errors import Mistake
from entrepot.errors import CatalogError
from entrepot.store import audit
from entrepot.store.audit import Actor, Change
from entrepot.store.catalog import CatalogObject, CatalogRevision
from entrepot.store.engine import Database

# So many of its changes the audit log names; the revision itself holds all of them.
MAX_AUDITED = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object came from: *place* is ``file:line``, empty for one of the console."""

    kind: Literal["file", "console"]
    place: str = ""


Origins = Mapping[tuple[str, str], Origin]


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the catalog; number 0 is the empty one before the first apply."""

    number: int = 0
    document: Document = field(default_factory=dict)
    types: Types = field(default_factory=dict)
    origins: Origins = field(default_factory=dict)


def current(database: Database) -> Revision:
    """Return the newest revision. Raises StoreUnavailable."""
    with database.reading() as session:
        newest = _newest(session)
        if newest is None:
            return Revision()
        rows = session.execute(
            select(CatalogObject.kind, CatalogObject.name, CatalogObject.origin, CatalogObject.place)
        )
        origins = {(row.kind, row.name): Origin(row.origin, row.place) for row in rows}
        return Revision(newest.number, newest.document, newest.types, origins)


def origins_of(database: Database, section: str, names: Collection[str]) -> dict[str, Origin]:
    """Return where those of *names* came from that *section* of the newest revision has. Raises StoreUnavailable."""
    columns = (CatalogObject.name, CatalogObject.origin, CatalogObject.place)
    wanted = select(*columns).where(CatalogObject.kind == section, CatalogObject.name.in_(names))
    with database.reading() as session:
        return {row.name: Origin(row.origin, row.place) for row in session.execute(wanted)}


def record(
    database: Database, after: int, revision: Revision, *, summary: str, actor: Actor, changes: Sequence[Change] = ()
) -> bool:
    """Store *revision* as the one after number *after*, all or nothing; False when another has come between.

    *summary* says what changed; the audit log says so too, after *changes*, and who the *actor* was. Raises
    StoreUnavailable.
    """
    with database.transaction() as session:
        newest = _newest(session)
        if (newest.number if newest is not None else 0) != after:
            return False
        _replace_objects(session, revision)
        session.add(
            CatalogRevision(
                number=revision.number,
                document=revision.document,
                types=revision.types,
                digest=hashlib.sha256(orjson.dumps([revision.document, revision.types])).hexdigest(),
                summary=summary,
                made_by=actor.name,
            )
        )
        audit.append_all(session, actor, [*changes, _change(after, revision.number, summary)])
    return True


def _change(former: int, number: int, summary: str) -> Change:
    lines = summary.splitlines()
    after = {"revision": number, "number": len(lines), "changes": lines[:MAX_AUDITED]}
    return Change("apply", "catalog", f"revision {number}", before={"revision": former}, after=after)


def _replace_objects(session: Session, revision: Revision) -> None:
    session.execute(delete(CatalogObject))
    for kind, objects in revision.document.items():
        for name, definition in objects.items():
            origin = revision.origins[kind, name]
            session.add(
                CatalogObject(kind=kind, name=name, definition=definition, origin=origin.kind, place=origin.place)
            )


def _newest(session: Session) -> CatalogRevision | None:
    return session.scalar(select(CatalogRevision).order_by(CatalogRevision.number.desc()).limit(1))


def compiled(revision: Revision) -> Catalog:
    """Return the catalog of a stored *revision*, with its field types.

    Raises CatalogError when this version of Entrepot refuses what another one stored.
    """
    mistakes: list[Mistake] = []
    draft = check(rooted(revision.document, f"revision {revision.number}"), mistakes)
    if mistakes:
        raise CatalogError(f"revision {revision.number} does not fit this version of Entrepot", errors=mistakes)
    return replace(resolve(draft, revision.types).catalog, revision=revision.number)


def publish(database: Database, snapshot: Path) -> int:
    """Make the file *snapshot* hold the newest revision and return its number; 0, and no file, before the first.

    Does nothing when it holds it already, so that it may be called at every start: after a crash between commit and
    file, this is what brings the revision into force. Two at once are done one after the other. Raises
    StoreUnavailable, CatalogError, OSError.
    """
    with _lock(snapshot):
        with database.reading() as session:
            newest = _newest(session)
            number, digest = (newest.number, newest.digest) if newest is not None else (0, "")
        if number == 0 or read_revision(snapshot) == (number, digest):
            return number
        revision = current(database)
        write_snapshot(snapshot, compiled(revision), digest=digest)
    return revision.number


@contextmanager
def _lock(snapshot: Path) -> Iterator[None]:
    path = snapshot.with_name(f"{snapshot.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
