"""Where operators shut a client or partner out, and let it in again.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from entrepot.errors import StoreUnavailable
from entrepot.identity.refused import CallerKind, Switch
from entrepot.identity.refusing import refuse
from entrepot.identity.revocation import Revocations
from entrepot.identity.rows import write_down
from entrepot.store.audit import Actor
from entrepot.store.engine import Database


@dataclass(frozen=True, slots=True)
class Switched:
    """What came of it. *new*: it was not so before. *stored*: the database knows of it."""

    new: bool
    stored: bool


class Disabling:
    """Disables and enables. *database* is None when it cannot be opened: then nothing can be enabled."""

    def __init__(
        self, revocations: Revocations, database: Database | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._revocations = revocations
        self._database = database
        self._clock = clock

    def disable(self, kind: CallerKind, name: str, *, actor: Actor) -> Switched:
        """Refuse all that the client or partner *name* shows, on every worker within a second, until it is enabled.

        Raises BadRequest for what cannot be a name, StoreUnavailable when it cannot be put on disk, and so is not in
        force.
        """
        switch = Switch(kind, name, disabled=True, at=self._clock(), by=actor.name)
        new, stored = refuse(self._revocations, self._database, switch, actor=actor, clock=self._clock)
        return Switched(new, stored)

    def enable(self, kind: CallerKind, name: str, *, actor: Actor) -> Switched:
        """Let the client or partner *name* in again, with what it had and was not revoked.

        Raises StoreUnavailable when either the database or the disk does not take it: then it stays disabled.
        """
        if self._database is None:
            raise StoreUnavailable("the database is away; without it nothing is enabled")
        former = None
        try:
            # The file within the turn of the database: whoever disables meanwhile waits for it, and looks again.
            with self._database.transaction() as session:
                former = self.since(kind, name)
                switch = Switch(kind, name, disabled=False, at=self._clock(), by=actor.name)
                if former is not None:
                    # The database may have been away then, and would never hear of it.
                    write_down(session, former, Actor(former.by, "system", actor.operation_id))
                write_down(session, switch, actor)
                session.flush()
                return Switched(self._revocations.add(switch), stored=True)
        except StoreUnavailable:
            if former is not None:
                self._revocations.add(former)
            raise

    def since(self, kind: CallerKind, name: str) -> Switch | None:
        """Return since when the client or partner itself is disabled, and by whom; None when it is not."""
        self._revocations.refresh()
        return self._revocations.switch(kind, name)
