"""Everything that the command line and the pages work with, built once and frozen. Not for the data plane."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from entrepot.callers import Callers
from entrepot.catalog.definitions import Catalog
from entrepot.catalog.revisions import Revision, publish
from entrepot.catalog.snapshot import read_snapshot
from entrepot.chassis.occupancy import Occupant, occupy
from entrepot.chassis.shared import Counter, SharedState
from entrepot.declarative.apply import Applied
from entrepot.declarative.edit import Edits, edit
from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity import credential, retention, uses
from entrepot.identity.credential import CredentialFile
from entrepot.identity.credentials import Credentials
from entrepot.identity.desk import Desk
from entrepot.identity.disabling import Disabling
from entrepot.identity.key_desk import KeyDesk, note_rotation
from entrepot.identity.keys import Keyring, Rotation
from entrepot.identity.master import MasterKey
from entrepot.identity.master_mark import expect_stored, store_mark
from entrepot.identity.revocation import REVOCATIONS, Revocations
from entrepot.identity.tokens import addressee
from entrepot.identity.uses import Uses
from entrepot.ledger.desk import LedgerDesk
from entrepot.settings import Settings
from entrepot.store import schema
from entrepot.store.audit import Actor
from entrepot.store.engine import BUSY_TIMEOUT_S, Database, open_database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one store. A context manager: it lets go of the database at the end.

    *absence* says why there is no database; then tokens can be revoked and the catalog in force read, and no more.
    """

    settings: Settings
    shared: SharedState
    keyring: Keyring
    revocations: Revocations
    desk: Desk
    keys: KeyDesk
    credentials: Credentials
    ledger_counter: Counter
    unwritten: Counter
    opened: Database | None
    absence: str
    occupant: Occupant

    @classmethod
    def from_settings(cls, settings: Settings) -> Services:
        """Return the services of the store in *settings*; what is missing of it is made.

        Raises DirectoryInUse while it is being restored.
        """
        try:
            return cls._held(settings)
        except StoreUnavailable as error:
            # The database has gone away since it was opened.
            return cls._held(settings, str(error))

    @classmethod
    def _held(cls, settings: Settings, absence: str = "") -> Services:
        # What was opened is let go of when the rest cannot be: a process that goes on tries again and again.
        with ExitStack() as opened:
            services = cls._opened(settings, absence, opened)
            opened.pop_all()
            return services

    @classmethod
    def _opened(cls, settings: Settings, absence: str, stack: ExitStack) -> Services:
        directory = settings.store.directory
        occupant = stack.enter_context(closing(occupy(directory)))
        shared = stack.enter_context(closing(SharedState.open(directory / "shared")))
        database, absence = (None, absence) if absence else _database(settings)
        if database is not None:
            stack.enter_context(closing(database))
        master = MasterKey(settings.keys.master, directory)
        keyring = _keyring(settings, master, database)
        revocations = stack.enter_context(closing(Revocations(directory / REVOCATIONS, shared.counter(REVOCATIONS))))
        revocations.load()
        file = CredentialFile(directory / credential.FILE, shared.counter(credential.FILE), master)
        stack.enter_context(closing(file)).load()
        credentials = Credentials(file, Uses(directory / uses.FILE), revocations, database)
        issuer = addressee(settings.gateway.public_url)
        desk = Desk(keyring, revocations, file, database, issuer=issuer, audience=issuer)
        counters = (shared.counter("ledger"), shared.counter("unwritten"))
        keys = KeyDesk(keyring, database)
        desks = (desk, keys, credentials)
        return cls(settings, shared, keyring, revocations, *desks, *counters, database, absence, occupant)

    @staticmethod
    def finds_database(settings: Settings) -> bool:
        """Tell whether the database of the store in *settings* can be opened now."""
        database, _ = _database(settings)
        if database is not None:
            database.close()
        return database is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files and the database."""
        self.revocations.close()
        self.credentials.close()
        if self.opened is not None:
            self.opened.close()
        self.shared.close()
        self.occupant.close()

    @property
    def database(self) -> Database:
        """The database. Raises StoreUnavailable when it is away."""
        if self.opened is None:
            raise StoreUnavailable(self.absence, retry_after_s=BUSY_TIMEOUT_S)
        return self.opened

    @property
    def ledger(self) -> LedgerDesk:
        """Where operators look into the ledger and change it. Raises StoreUnavailable when the database is away."""
        return LedgerDesk(self.database, self.ledger_counter, self.database.now)

    @property
    def callers(self) -> Callers:
        """Where operators shut clients and partners out, and let them in."""
        disabling = Disabling(self.revocations, self.opened)
        return Callers(disabling, self.revocations, self.catalog, lambda: self.ledger, self.unwritten)

    @property
    def snapshot_path(self) -> Path:
        """Where the catalog in force lies for the workers."""
        return self.settings.store.directory / "snapshot.json"

    def catalog(self) -> Catalog:
        """Return the catalog in force, the empty one before the first. Raises NotReady when its file is damaged."""
        return read_snapshot(self.snapshot_path) if self.snapshot_path.exists() else Catalog()

    def edit(self, edits_of: Callable[[Revision], Edits], *, actor: Actor) -> Applied:
        """Bring what *edits_of* makes of the catalog into force without a file: see ``declarative.edit``."""
        return edit(self.database, edits_of, snapshot=self.snapshot_path, actor=actor)

    def prepare(self) -> None:
        """Make ready what the workers cannot make: revocations and the snapshot as the store knows them.

        Without the database the gateway serves from the files that are there, and without the master key from the keys
        that anybody can read. Raises StoreUnavailable when the database goes away meanwhile.
        """
        try:
            self.keyring.current  # noqa: B018 - raises when it cannot be opened
        except (SettingsError, StoreUnavailable) as error:
            log.error("no token can be issued here, no secret or API key checked", extra={"reason": str(error)})
        if self.opened is None:
            # Nothing is compacted: what is revoked now stands in the lines alone, until the database knows of it.
            log.warning("the database is away, the last good catalog is served", extra={"reason": self.absence})
            return
        self.desk.agree()
        self._compact()
        self.credentials.prepare()
        self.keys.prune()
        publish(self.opened, self.snapshot_path)
        self.callers.hold_all()

    def catch_up(self) -> None:
        """Note what could not be noted when callers were disabled: to be called when ``unwritten`` has grown.

        Raises StoreUnavailable as long as the database is away.
        """
        self.revocations.refresh()
        self.desk.catch_up()
        self.callers.hold_all()

    def tend(self) -> None:
        """Forget what is over: done now and then by one process of the host. Raises StoreUnavailable."""
        now = time.time()
        # First: of single tokens that are gathered, nobody can tell the database any more.
        self.desk.catch_up()
        self.revocations.compact_when_due(now)
        self.keys.prune()
        self.credentials.keep_uses()
        self.callers.release_all()
        count = retention.STEP
        while count == retention.STEP:
            with self.database.writing() as connection:
                count = retention.prune(connection, now, retention.STEP)
        # Last: the disk may have had no room for it when the revision was made, and may have none still.
        try:
            publish(self.database, self.snapshot_path)
        except OSError as exc:
            raise StoreUnavailable(f"{self.snapshot_path} cannot be written: {exc.strerror}") from exc

    def _compact(self) -> None:
        try:
            self.revocations.compact(time.time(), is_whole=True)
        except StoreUnavailable as error:
            log.warning("revocations of expired tokens stay in the file", extra={"reason": str(error)})


def _keyring(settings: Settings, master: MasterKey, database: Database | None) -> Keyring:
    if database is not None:
        expect_stored(database, master)
    keyring = Keyring.open(settings.store.directory / "keys", master, rotation=_rotation(settings, database))
    if database is not None:
        store_mark(database, master)
    return keyring


def _rotation(settings: Settings, database: Database | None) -> Rotation:
    tell = None if database is None else partial(note_rotation, database)
    return Rotation(settings.keys.rotate_after_s, tell)


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
