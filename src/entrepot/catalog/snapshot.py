"""The compiled catalog on disk: what every worker reads, with or without a database.

The file has lines of JSON: a head ``{"format", "version", "revision", "digest", "sha256"}``, the catalog without its
clients, and each client. The checksum covers all but the head. Values that are at their defaults are left out. The file
is replaced as a whole, never changed in place.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from entrepot.catalog.clients import Clients, client_lines
from entrepot.catalog.codec import decode, encode
from entrepot.catalog.definitions import Catalog
from entrepot.errors import NotReady

FORMAT = "entrepot-snapshot"
VERSION = 2


def write_snapshot(path: Path, catalog: Catalog, *, digest: str = "") -> None:
    """Replace the snapshot at *path* by *catalog*, atomically and synced to disk; its mode is 0600.

    *digest* is that of the stored revision: a number may come twice, after a database was restored. Raises OSError when
    the disk does not take it; the old snapshot is then still whole.
    """
    rest = orjson.dumps(encode(replace(catalog, clients={})))
    payload = rest + b"\n" + client_lines(catalog.clients.values())
    head = {
        "format": FORMAT,
        "version": VERSION,
        "revision": catalog.revision,
        "digest": digest,
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    _replace(path, orjson.dumps(head) + b"\n" + payload)


def read_snapshot(path: Path) -> Catalog:
    """Return the catalog that *path* holds. Raises NotReady when there is none, or one that cannot be used."""
    head, payload = _read(path)
    if hashlib.sha256(payload).hexdigest() != head.get("sha256"):
        raise NotReady(f"the snapshot {path} is damaged: its checksum does not match; `entrepot apply` writes it anew")
    try:
        with collector_paused():
            return _catalog(payload)
    except (TypeError, ValueError, KeyError, AttributeError) as exc:
        raise NotReady(f"the snapshot {path} is damaged: {exc}") from exc


def _catalog(payload: bytes) -> Catalog:
    rest, _, lines = payload.partition(b"\n")
    catalog = decode(Catalog, orjson.loads(rest))
    return replace(catalog, clients=Clients(lines)) if lines else catalog


@contextmanager
def collector_paused() -> Iterator[None]:
    """Run what builds a catalog without the garbage collector."""
    # Nothing of a catalog is garbage while it is built, and looking for it among a million fresh objects takes
    # longer than building them: 1.1 s instead of 0.4 s with 10 000 endpoints.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_revision(path: Path) -> tuple[int, str] | None:
    """Return number and digest of the revision in the snapshot at *path*, or None when there is no whole one."""
    try:
        head, payload = _read(path)
    except NotReady:
        return None
    revision = head.get("revision")
    is_whole = hashlib.sha256(payload).hexdigest() == head.get("sha256")
    return (revision, str(head.get("digest", ""))) if is_whole and isinstance(revision, int) else None


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """Return what tells the file at *path* from the one before it and the next; None when there is none to be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        head_line, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError as exc:
        raise NotReady(f"there is no snapshot at {path}; `entrepot apply` writes the first") from exc
    except OSError as exc:
        raise NotReady(f"the snapshot {path} cannot be read: {exc.strerror}") from exc
    try:
        head = orjson.loads(head_line)
    except orjson.JSONDecodeError as exc:
        raise NotReady(f"the snapshot {path} is damaged: its first line is not JSON") from exc
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise NotReady(f"{path} is not a snapshot of Entrepot")
    if head.get("version") != VERSION:
        raise NotReady(f"the snapshot {path} has version {head.get('version')}; this program reads {VERSION}")
    return head, payload


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
