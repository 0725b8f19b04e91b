"""Where operators see signing keys and rotate them, and where keys go whose tokens have all ended.

A change is committed to the audit log before it is made: after a failure in between, the log says of a key that did not
come, or has not gone yet, and is never silent about one that did.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

from sqlalchemy import select

from entrepot.chassis.operation import current_operation_id
from entrepot.errors import StoreUnavailable
from entrepot.identity.keys import Key, Keyring
from entrepot.store import audit
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database

log = logging.getLogger(__name__)

# A token that was being issued while its key was retired is written down by then. Longer than leeway and clocks differ.
GRACE_S = 3600.0

KeyState = Literal["signing", "verifying"]


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A signing key, and what becomes of it.

    *due_at* is when the one that signs is rotated by age, *ends_at* when the last token of one that only verifies ends,
    as far as is known; each is None for the other.
    """

    kid: str
    state: KeyState
    made_at: float
    due_at: float | None
    ends_at: float | None


class KeyDesk:
    """Rotates the keys of *keyring*. *database* is None when it cannot be opened: then keys can only be listed."""

    def __init__(self, keyring: Keyring, database: Database | None, *, clock: Callable[[], float] = time.time) -> None:
        self._keyring = keyring
        self._database = database
        self._clock = clock

    def listed(self) -> list[HeldKey]:
        """Return all keys, the newest first. Raises SettingsError and StoreUnavailable."""
        self._keyring.refresh()
        newest = self._keyring.newest
        keys = sorted(self._keyring.keys.values(), key=lambda key: key.made_at, reverse=True)
        return [self._held(key, signs=newest is not None and key.kid == newest.kid) for key in keys]

    def rotate(self, *, actor: Actor) -> str:
        """Sign with a new key from now on, and return its kid. Raises SettingsError and StoreUnavailable.

        Tokens of the old key are good until they end.
        """
        return self._keyring.rotate(partial(_note, self._present(), actor))

    def rotate_when_due(self) -> str | None:
        """Do the same when the key that signs is too old ([keys] rotate_after); None when it is not.

        Whoever issues does this by itself. Raises SettingsError and StoreUnavailable.
        """
        self._present()
        return self._keyring.rotate_when_due()

    def prune(self) -> list[str]:
        """Remove keys whose last token has ended, and return their kids. Raises SettingsError and StoreUnavailable."""
        database = self._present()
        now = self._clock()
        self._keyring.refresh()
        newest = self._keyring.newest
        if newest is not None:
            # A database that is lost before the next rotation cannot say any more when the last of these tokens ends.
            self._last_end(database, newest.kid)
        removed = [kid for kid in self._retired(now) if self._last_end(database, kid) + GRACE_S < now]
        for kid in removed:
            with database.transaction() as session:
                audit.append(session, _system(), Change("remove", "key", kid))
            self._keyring.remove(kid)
            log.info("a signing key whose tokens have ended was removed", extra={"kid": kid})
        return removed

    def _retired(self, now: float) -> list[str]:
        """Return the keys that may have no living token: not looked at before the end that was seen last."""
        self._keyring.refresh()
        keys = sorted(self._keyring.keys.values(), key=lambda key: key.made_at)
        retired = pairwise(keys)
        return [key.kid for key, successor in retired if max(successor.made_at, key.ends_at or 0.0) + GRACE_S < now]

    def _last_end(self, database: Database, kid: str) -> float:
        """Return when the last token of the key ends, and keep it with the key; 0 when there is none."""
        ends_at = _last_end(database, kid)
        if ends_at > (self._keyring.keys[kid].ends_at or 0.0):
            self._keyring.note_end(kid, ends_at)
        return ends_at

    def _held(self, key: Key, *, signs: bool) -> HeldKey:
        if signs:
            due_at = self._keyring.due_at(key)
            return HeldKey(key.kid, "signing", key.made_at, None if due_at == float("inf") else due_at, None)
        return HeldKey(key.kid, "verifying", key.made_at, None, self._known_end(key))

    def _known_end(self, key: Key) -> float | None:
        ends_at = key.ends_at or 0.0
        if self._database is not None:
            with suppress(StoreUnavailable):
                ends_at = max(ends_at, _last_end(self._database, key.kid))
        return ends_at or None

    def _present(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the database is away")
        return self._database


def note_rotation(database: Database, former: str, new: str) -> None:
    """Write down that a key is rotated by age. Raises StoreUnavailable."""
    _note(database, _system(), former, new)


def _last_end(database: Database, kid: str) -> float:
    ends_at = tables.Token.expires_at
    # The latest first: of a key with living tokens one is found soon.
    latest = select(ends_at).where(tables.Token.kid == kid).order_by(ends_at.desc()).limit(1)
    with database.reading() as session:
        found = session.scalar(latest)
    return 0.0 if found is None else found.timestamp()


def _note(database: Database, actor: Actor, former: str, new: str) -> None:
    with database.transaction() as session:
        audit.append(session, actor, Change("rotate", "key", new, before={"kid": former}, after={"kid": new}))


def _system() -> Actor:
    return Actor("rotation", "system", current_operation_id.get() or "")
