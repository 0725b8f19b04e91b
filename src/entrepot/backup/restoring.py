"""Build a store of a backup beside the one that is there, make it agree with itself, and put it in place as a whole.

Nothing of the present store changes before that. Who may come in is decided by what either of them knows: what one has
revoked or disabled stays so, and operators and signing keys are those of the present store, as far as it has any.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote

from sqlalchemy import delete, insert

from entrepot.backup.archive import CATALOG, DATABASE, SNAPSHOT, Archive, BackupError, Manifest, Tell
from entrepot.backup.making import SPARE_BYTES, require_free
from entrepot.backup.present import Known, known, merge_revocations
from entrepot.chassis.occupancy import alone
from entrepot.chassis.occupancy import replace as put_in_place
from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity import credential, uses
from entrepot.identity.keys import Keyring
from entrepot.identity.master import MARK, MasterKey
from entrepot.identity.master_mark import forget
from entrepot.identity.revocation import IDS, REVOCATIONS
from entrepot.ledger.restored import hold_unfinished
from entrepot.services import Services
from entrepot.settings import Settings
from entrepot.store import audit, schema
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import database_path, open_database
from entrepot.store.identity import Operator, OperatorSession


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a restore: the backup's *manifest*, how many transactions are *held*, and what could not be done.

    *tokens* that were issued before are ``good`` or ``refused``.
    """

    manifest: Manifest
    held: int
    tokens: Literal["good", "refused"]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What an operator may want of a restore other than usual.

    *keep_tokens*: tokens and API keys that were issued before stay good. *new_keys*: the master key of the backup is
    lost, so its signing keys, secrets and API keys are void.
    """

    keep_tokens: bool = False
    new_keys: bool = False

    @property
    def tokens(self) -> Literal["good", "refused"]:
        """What tokens are that were issued before."""
        return "good" if self.keep_tokens else "refused"


def restore(settings: Settings, source: BinaryIO, choices: Choices, tell: Tell, *, actor: Actor) -> Restored:
    """Replace the store in *settings* by the backup in *source*, all or nothing. *tell* is told of bytes that are read.

    Raises DirectoryInUse while anybody uses the store, BackupError for a backup that is damaged or does not fit here,
    SettingsError for a master key that is not its own, StoreUnavailable, CatalogError, OSError.
    """
    archive = Archive(source)
    directory, place = settings.store.directory, database_path(settings.store.url)
    _require_kind(archive.manifest, place)
    with alone(directory) as stage:
        ready = None if place is None else _ready_path(place, directory, stage)
        try:
            _unpack(archive, stage, ready, tell)
            if ready is not None:
                _bring_up(ready)
            _gather(directory, stage, MasterKey(settings.keys.master, directory), choices)
            present, warnings = _known(place)
            held = _agree(_staged(settings, stage, ready), present, choices, archive.manifest, actor)
            _put(directory, stage, place, ready)
        finally:
            if ready is not None:
                _remove_database(ready)
    return Restored(archive.manifest, held, choices.tokens, warnings)


def _require_kind(manifest: Manifest, place: Path | None) -> None:
    here = "postgresql" if place is None else "sqlite"
    if manifest.database != here or (DATABASE in manifest.parts) != (here == "sqlite"):
        raise BackupError(f"the backup is of a store in {manifest.database}, and [store] url names one in {here}")


def _ready_path(place: Path, directory: Path, stage: Path) -> Path:
    """Return where the database is made ready: on the file system of its *place*."""
    if place.parent == directory:
        return stage / place.name
    ready = place.with_name(f"{place.name}.restored")
    _remove_database(ready)
    return ready


def _remove_database(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.turns"):
        path.with_name(name).unlink(missing_ok=True)


def _unpack(archive: Archive, stage: Path, ready: Path | None, tell: Tell) -> None:
    (stage / "keys").mkdir(mode=0o700)
    # It grows a little when it is brought up to date, and while what is not finished is held.
    needed = archive.manifest.total_bytes * 5 // 4 + SPARE_BYTES
    for folder in {stage} if ready is None else {stage, ready.parent}:
        require_free(folder, needed)

    def place_of(name: str) -> Path:
        return ready if name == DATABASE and ready is not None else stage / name

    try:
        archive.unpack(place_of, tell)
    except FileExistsError as exc:
        raise BackupError("the backup is damaged: it holds something twice") from exc
    except OSError as exc:
        raise BackupError(f"the backup cannot be unpacked to {stage}: {exc.strerror}") from exc
    # They are made anew of the database, and are for people who look into the backup.
    for name in (SNAPSHOT, CATALOG):
        (stage / name).unlink(missing_ok=True)


def _gather(directory: Path, stage: Path, master: MasterKey, choices: Choices) -> None:
    """Put into *stage* what the files of the present store know, and its signing keys when the master key opens them.

    A key that it does not have any more may have been removed because somebody knows it.
    """
    merge_revocations(directory, stage)
    if (directory / credential.FILE).exists():
        # The numbers in the one are places in the other. What the present ones lack comes from the database.
        for name in (credential.FILE, uses.FILE):
            (stage / name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                shutil.copy(directory / name, stage / name)
    opens = _opens(directory / "keys", master)
    if opens or choices.new_keys:
        shutil.rmtree(stage / "keys")
    if opens:
        shutil.copytree(directory / "keys", stage / "keys")


def _opens(keys: Path, master: MasterKey) -> bool:
    if not any(keys.glob("[!.]*.key")):
        return False
    try:
        Keyring.open(keys, master).current  # noqa: B018 - raises when it cannot be opened
    except (SettingsError, StoreUnavailable):
        return False
    return True


def _bring_up(path: Path) -> None:
    """Check the database at *path*, and bring its schema up to date. Raises BackupError, StoreUnavailable."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            (word,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            lost = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as exc:
        raise BackupError(f"the backup is damaged: its database cannot be read: {exc}") from exc
    if word != "ok" or lost is not None:
        raise BackupError(f"the backup is damaged: its database is not whole: {word}")
    with closing(open_database(f"sqlite:///{quote(str(path))}")) as database:
        if schema.status(database).current is None:
            raise BackupError("the backup is damaged: its database is empty")
        schema.upgrade(database)
        schema.check_schema(database)


def _staged(settings: Settings, stage: Path, ready: Path | None) -> Settings:
    """Return the settings of the store that is being made ready in *stage*."""
    master = MasterKey(settings.keys.master, settings.store.directory).path
    reference = settings.keys.master if master is None else f"file:{master}"
    url = settings.store.url if ready is None else f"sqlite:///{quote(str(ready))}"
    return replace(
        settings,
        store=replace(settings.store, directory=stage, url=url),
        keys=replace(settings.keys, master=reference),
    )


def _agree(staged: Settings, present: Known, choices: Choices, manifest: Manifest, actor: Actor) -> int:
    """Make files and database of the new store agree, hold what is not finished, and return how much that is."""
    if choices.new_keys:
        with closing(open_database(staged.store.url)) as database:
            forget(database, staged.store.directory, actor=actor)
    with Services.from_settings(staged) as services:
        _require_master(services)
        with services.database.writing() as connection:
            held = hold_unfinished(connection)
            connection.execute(delete(OperatorSession))
            if present.operators:
                connection.execute(delete(Operator))
                connection.execute(insert(Operator), present.operators)
            after = {"made_at": manifest.made_at, "host": manifest.host, "held": held, "tokens": choices.tokens}
            audit.append(connection, actor, Change("restore", "store", manifest.made_at, after=after))
        services.revocations.add_all(present.entries)
        if not choices.keep_tokens:
            services.desk.revoke("all", "", actor=actor)
        services.prepare()
    return held


def _require_master(services: Services) -> None:
    try:
        services.keyring.current  # noqa: B018 - raises when the master key does not open it
    except SettingsError as exc:
        raise SettingsError(
            f"the keys of the backup cannot be opened: {exc}. Put the master key of the backup in place; if it is "
            "lost, --new-keys begins anew"
        ) from exc


def _known(place: Path | None) -> tuple[Known, tuple[str, ...]]:
    """Return what the present database knows, and what there is to say when it cannot be asked."""
    if place is None:
        return Known(), ()
    try:
        return known(place), ()
    except StoreUnavailable as error:
        return Known(), (f"the database that was there cannot be read: {error}; what it alone knew is lost",)


def _put(directory: Path, stage: Path, place: Path | None, ready: Path | None) -> None:
    """Put all that is ready into its place, synced."""
    names = ("keys", MARK, REVOCATIONS, IDS, credential.FILE, uses.FILE, SNAPSHOT)
    pieces = [(stage / name, directory / name) for name in names if (stage / name).exists()]
    gone = [directory / name for name in (MARK, uses.FILE, SNAPSHOT) if not (stage / name).exists()]
    if ready is not None and place is not None:
        with closing(sqlite3.connect(ready)) as connection:
            # What was committed last goes into the database itself.
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        pieces.append((ready, place))
        gone += [place.with_name(f"{place.name}{ending}") for ending in ("-wal", "-shm")]
    for path, _ in pieces:
        for file in path.iterdir() if path.is_dir() else (path,):
            _sync(file)
    put_in_place(directory, pieces, gone)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
