"""How something is refused: in the file first, where it is in force, then in the database, where it is shown.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from entrepot.errors import StoreUnavailable
from entrepot.identity.refused import Revocation, Switch
from entrepot.identity.revocation import Revocations
from entrepot.identity.rows import write_down
from entrepot.store.audit import Actor
from entrepot.store.engine import Database


def refuse(
    revocations: Revocations,
    database: Database | None,
    entry: Revocation | Switch,
    *,
    actor: Actor,
    clock: Callable[[], float],
) -> tuple[bool, bool]:
    """Put *entry* in force, and return whether it was not before, and whether the database knows of it.

    *database* is None when it cannot be opened. Raises BadRequest for what cannot be a name, StoreUnavailable when it
    cannot be put on disk, and so is not in force.
    """
    new = revocations.add(entry)
    if database is None:
        return new, False
    try:
        with database.transaction() as session:
            revocations.refresh()
            if not revocations.holds(entry):
                # Someone took it back while this waited for the database.
                entry = _anew(entry, clock())
                new = revocations.add(entry)
            write_down(session, entry, actor)
    except StoreUnavailable:
        if not revocations.holds(entry):
            raise
        return new, False
    return new, True


def _anew(entry: Revocation | Switch, now: float) -> Revocation | Switch:
    return replace(entry, at=now) if isinstance(entry, Switch) else replace(entry, revoked_at=now)
