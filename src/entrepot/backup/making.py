"""Make a backup while everything goes on: the database of one moment, and right after it the files beside it.

The files know at least what the database knows, for they are copied later; a start, and a restore, make them agree.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from entrepot.backup.archive import (
    CATALOG,
    CHUNK_BYTES,
    DATABASE,
    SNAPSHOT,
    BackupError,
    Manifest,
    Tell,
    digest,
    write,
)
from entrepot.catalog.revisions import current
from entrepot.chassis.occupancy import occupy
from entrepot.declarative.export import export
from entrepot.identity.durable import sync_directory
from entrepot.settings import Settings
from entrepot.store import schema
from entrepot.store.engine import Database, open_database, translated
from entrepot.store.sqlite import SQLite

# First the lines, then the ids: single tokens are moved from the one to the other.
FILES = ("revocations", "revocations.ids", "credentials", SNAPSHOT)
# So much must be left for others.
SPARE_BYTES = 16 << 20
_WORK = ".entrepot-backup"
_NAMED = re.compile(r"entrepot-\d{8}T\d{6}Z(-\d+)?\.tar", re.ASCII)


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made: where it is, how large, and of what; *removed* are older ones that were too many."""

    path: Path
    bytes: int
    manifest: Manifest
    removed: tuple[Path, ...] = ()


def make(
    settings: Settings, place: Path, tell: Tell, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Made:
    """Back the store in *settings* up to *place*: a directory, where it gets a name of its own, or a new file.

    It is readable by its owner alone, whole and synced, or not there. *tell* is told of bytes that are written, twice
    those of the database. The master key is not in it. Raises BackupError, StoreUnavailable.
    """
    occupant = occupy(settings.store.directory)
    try:
        folder = place if place.is_dir() else place.parent
        with _told(folder), _work(folder) as work:
            database = open_database(settings.store.url)
            try:
                _require_room(folder, settings, database)
                packed = _packed(settings, database, work, tell, now())
            finally:
                database.close()
            return _placed(packed, place)
    finally:
        occupant.close()


def prune(made: Made, keep: int) -> Made:
    """Remove backups beside *made*, the oldest first, of those that ``make`` named, until *keep* are left."""
    folder = made.path.parent
    named = sorted((path for path in folder.iterdir() if _NAMED.fullmatch(path.name)), key=_age)
    surplus = [path for path in named[: max(0, len(named) - keep)] if path != made.path]
    with _told(folder):
        for path in surplus:
            path.unlink(missing_ok=True)
        sync_directory(folder)
    return replace(made, removed=tuple(surplus))


def _age(path: Path) -> tuple[str, int]:
    moment, _, number = path.stem.removeprefix("entrepot-").partition("-")
    return moment, int(number or 0)


@contextmanager
def _work(folder: Path) -> Iterator[Path]:
    """Give a directory within *folder* for the block alone; what one that was killed has left there goes first."""
    work = folder / _WORK
    work.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _require_alone(work, lock)
        for path in work.iterdir():
            path.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work)
    finally:
        os.close(lock)


def _require_alone(work: Path, lock: int) -> None:
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another one may have ended, and taken it away, since it was opened.
        if os.path.samestat(work.stat(), os.fstat(lock)):
            return
    raise BackupError(f"another backup is being written to {work.parent}")


def _require_room(folder: Path, settings: Settings, database: Database) -> None:
    directory = settings.store.directory
    files = sum(path.stat().st_size for path in _files(directory).values())
    needed = 2 * (_size(database) + files) + SPARE_BYTES
    if folder.stat().st_dev == directory.stat().st_dev:
        # With less the gateway accepts nothing any more.
        needed += settings.ledger.min_free_bytes
    require_free(folder, needed)


def require_free(folder: Path, needed_bytes: int) -> None:
    """Return when so many bytes are free for this user in *folder*. Raises BackupError."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < needed_bytes:
        raise BackupError(f"{folder} has {free >> 20} MiB free, {(needed_bytes >> 20) + 1} MiB are needed")


def _size(database: Database) -> int:
    return database.backend.size() if isinstance(database.backend, SQLite) else 0


def _files(directory: Path) -> dict[str, Path]:
    keys = sorted((directory / "keys").glob("[!.]*.key"))
    found = {name: directory / name for name in FILES} | {f"keys/{path.name}": path for path in keys}
    return {name: path for name, path in found.items() if path.exists()}


def _packed(settings: Settings, database: Database, work: Path, tell: Tell, now: datetime) -> Made:
    status = schema.status(database)
    if status.current is None:
        raise BackupError("there is nothing to back up: the database is empty")
    made_at = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    files = _copied(settings, database, work, tell)
    kind = "sqlite" if DATABASE in files else "postgresql"
    parts = {name: digest(path) for name, path in files.items()}
    manifest = Manifest(version("entrepot"), status.current, made_at, socket.gethostname(), kind, parts)
    path = work / "backup.tar"
    path.touch(mode=0o600, exist_ok=False)
    with path.open("r+b", buffering=CHUNK_BYTES) as target:
        write(target, manifest, files, tell)
        target.flush()
        os.fsync(target.fileno())
        return Made(path, target.tell(), manifest)


def _copied(settings: Settings, database: Database, work: Path, tell: Tell) -> dict[str, Path]:
    files = {}
    if isinstance(database.backend, SQLite):
        files[DATABASE] = work / DATABASE
        look = _growth(work / DATABASE, tell)
        with translated():
            database.backend.copy(work / DATABASE, look)
        look()
    for name, path in _files(settings.store.directory).items():
        copy = work / path.name
        with suppress(FileNotFoundError):  # a key that was removed meanwhile
            copy.write_bytes(path.read_bytes())
            files[name] = copy
    files[CATALOG] = work / CATALOG
    files[CATALOG].write_text(export(current(database).document), encoding="utf-8")
    return files


def _growth(path: Path, tell: Tell) -> Callable[[], None]:
    """Return what tells how many bytes *path* has grown by since the last time."""
    told = 0

    def look() -> None:
        nonlocal told
        size = path.stat().st_size
        tell(size - told)
        told = size

    return look


def _placed(packed: Made, place: Path) -> Made:
    folder = place if place.is_dir() else place.parent
    target = _named(packed.manifest, folder) if place.is_dir() else place
    if target.exists():
        raise BackupError(f"{target} is there already; name another file")
    packed.path.rename(target)
    sync_directory(folder)
    return replace(packed, path=target)


def _named(manifest: Manifest, folder: Path) -> Path:
    stem = "entrepot-" + re.sub("[-:]", "", manifest.made_at)
    number, path = 0, folder / f"{stem}.tar"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.tar"
    return path


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise BackupError(f"the backup cannot be made: {exc.filename or folder}: {exc.strerror}") from exc
