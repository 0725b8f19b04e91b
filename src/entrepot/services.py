"""Everything that the command line and the pages work with, built once and frozen. Not for the data plane."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.revisions import publish
from entrepot.catalog.snapshot import read_snapshot
from entrepot.chassis.shared import Counter, SharedState
from entrepot.errors import StoreUnavailable
from entrepot.identity.desk import Desk
from entrepot.identity.keys import Keyring
from entrepot.identity.revocation import Revocations
from entrepot.identity.tokens import addressee
from entrepot.ledger.desk import LedgerDesk
from entrepot.settings import Settings
from entrepot.store import schema
from entrepot.store.engine import Database, open_database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one store. A context manager: it lets go of the database at the end.

    *absence* says why there is no database; then tokens can be revoked and the catalog in force read, and no more.
    """

    settings: Settings
    keyring: Keyring
    revocations: Revocations
    desk: Desk
    revision_counter: Counter
    ledger_counter: Counter
    opened: Database | None
    absence: str

    @classmethod
    def from_settings(cls, settings: Settings) -> Services:
        """Return the services of the store in *settings*; what is missing of it is made."""
        directory = settings.store.directory
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        shared = SharedState.open(directory / "shared")
        keyring = Keyring.open(directory / "keys")
        revocations = Revocations(directory / "revocations", shared.counter("revocations"))
        revocations.load()
        database, absence = _database(settings)
        issuer = addressee(settings.gateway.public_url)
        desk = Desk(keyring, revocations, database, issuer=issuer, audience=issuer)
        counters = (shared.counter("revision"), shared.counter("ledger"))
        return cls(settings, keyring, revocations, desk, *counters, database, absence)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.revocations.close()
        if self.opened is not None:
            self.opened.close()

    @property
    def database(self) -> Database:
        """The database. Raises StoreUnavailable when it is away."""
        if self.opened is None:
            raise StoreUnavailable(self.absence)
        return self.opened

    @property
    def ledger(self) -> LedgerDesk:
        """Where operators look into the ledger and change it. Raises StoreUnavailable when the database is away."""
        return LedgerDesk(self.database, self.ledger_counter)

    @property
    def snapshot_path(self) -> Path:
        """Where the catalog in force lies for the workers."""
        return self.settings.store.directory / "snapshot.json"

    def catalog(self) -> Catalog:
        """Return the catalog in force, the empty one before the first. Raises NotReady when its file is damaged."""
        return read_snapshot(self.snapshot_path) if self.snapshot_path.exists() else Catalog()

    def prepare(self) -> None:
        """Make ready what the workers cannot make: revocations and the snapshot as the store knows them.

        Without the database the gateway serves from the files that are there.
        """
        try:
            self.revocations.compact(time.time())
        except StoreUnavailable as error:
            log.warning("revocations of expired tokens stay in the file", extra={"reason": str(error)})
        if self.opened is None:
            log.warning("the database is away, the last good catalog is served", extra={"reason": self.absence})
            return
        self.desk.restore()
        publish(self.opened, self.snapshot_path, self.revision_counter)


def _database(settings: Settings) -> tuple[Database | None, str]:
    try:
        database = open_database(settings.store.url)
    except StoreUnavailable as error:
        return None, str(error)
    try:
        schema.prepare(database)
    except StoreUnavailable as error:
        database.close()
        return None, str(error)
    return database, ""
