"""The file of a backup: a tar archive of plain files whose first is a manifest that says what the others must be.

It is read by its blocks and not by ``tarfile``: nothing but headers of plain files under names that a backup has is
understood, so no path, link, device or extended header of somebody else's making means anything.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from entrepot.chassis.errors import Error

FORMAT = "entrepot-backup"
VERSION = 1
MANIFEST = "manifest.json"
DATABASE = "database.sqlite"
CATALOG = "catalog.yaml"
SNAPSHOT = "snapshot.json"

MAX_MANIFEST_BYTES = 4 << 20
MAX_PARTS = 10_000
CHUNK_BYTES = 1 << 20

_NAME = re.compile(
    r"database\.sqlite|catalog\.yaml|snapshot\.json|revocations(\.ids)?|credentials|keys/[A-Za-z0-9_-]{43}\.key",
    re.ASCII,
)  # fmt: skip
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Tell = Callable[[int], None]
"""Is told how many more bytes are through."""


class BackupError(Error):
    """A backup cannot be used, or cannot be used here."""

    code, title = "backup", "The backup cannot be used"


@dataclass(frozen=True, slots=True)
class Part:
    """What a file of the backup must be."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is: of which *release* and *schema*, made when (RFC 3339) on which host, and its *parts* by name.

    *database* is ``sqlite``, or ``postgresql``: then the database is not among the parts.
    """

    release: str
    schema: str
    made_at: str
    host: str
    database: str
    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        """The bytes of all parts."""
        return sum(part.bytes for part in self.parts.values())


def write(target: BinaryIO, manifest: Manifest, files: Mapping[str, Path], tell: Tell) -> None:
    """Write the archive of *files*, which are what *manifest* says. Raises OSError."""
    head = orjson.dumps({"format": FORMAT, "version": VERSION, **asdict(manifest)}, option=orjson.OPT_INDENT_2)
    target.write(_header(MANIFEST, len(head)) + head + _padding(len(head)))
    for name, part in manifest.parts.items():
        target.write(_header(name, part.bytes))
        with files[name].open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
                tell(len(chunk))
        target.write(_padding(part.bytes))
    target.write(bytes(2 * tarfile.BLOCKSIZE))


def digest(path: Path) -> Part:
    """Return what the file at *path* is. Raises OSError."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(file.tell(), sha256)


class Archive:
    """The backup in *source*, an open file that is read once. Raises BackupError for one that is none."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        name, size = self._next() or ("", 0)
        if name != MANIFEST or size > MAX_MANIFEST_BYTES:
            raise BackupError("this is no backup of Entrepot: it does not begin with a manifest")
        self.manifest = _manifest(self._take(size))
        self._skip_padding(size)

    def unpack(self, place_of: Callable[[str], Path], tell: Tell) -> None:
        """Write each part to where *place_of* says, a new file for its owner alone, and check it.

        Raises BackupError for one that is damaged, FileExistsError, OSError.
        """
        missing = dict(self.manifest.parts)
        while (found := self._next()) is not None:
            name, size = found
            part = missing.pop(name, None)
            if part is None or part.bytes != size:
                raise BackupError("the backup is damaged: it holds what its manifest does not say")
            self._unpack(name, part, place_of(name), tell)
            self._skip_padding(size)
        if missing:
            raise BackupError(f"the backup is damaged: {min(missing)} is missing")

    def _unpack(self, name: str, part: Part, place: Path, tell: Tell) -> None:
        sha256 = hashlib.sha256()
        place.touch(mode=0o600, exist_ok=False)
        with place.open("r+b") as target:
            for chunk in self._chunks(part.bytes):
                sha256.update(chunk)
                target.write(chunk)
                tell(len(chunk))
        if sha256.hexdigest() != part.sha256:
            raise BackupError(f"the backup is damaged: the checksum of {name} does not match")

    def _next(self) -> tuple[str, int] | None:
        """Return name and size of the next file; None at the end, which must be there."""
        block = self._take(tarfile.BLOCKSIZE)
        if not any(block):
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as exc:
            raise BackupError("this is no backup of Entrepot, or a damaged one") from exc
        is_known = header.name == MANIFEST or _NAME.fullmatch(header.name)
        if header.type != tarfile.REGTYPE or not is_known or header.size < 0:
            raise BackupError(f"no backup holds such a thing: {header.name[:100]!r}, type {header.type!r}")
        return header.name, header.size

    def _take(self, size: int) -> bytes:
        return b"".join(self._chunks(size))

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = self._source.read(min(size, CHUNK_BYTES))
            if not chunk:
                raise BackupError("the backup is damaged: it ends too early")
            size -= len(chunk)
            yield chunk

    def _skip_padding(self, size: int) -> None:
        self._take(len(_padding(size)))


def _manifest(data: bytes) -> Manifest:
    try:
        found: dict[str, Any] = orjson.loads(data)
        kind = found.pop("format"), found.pop("version")
        if kind != (FORMAT, VERSION):
            raise BackupError(f"this is {kind[0]} {kind[1]}; this release reads {FORMAT} {VERSION}")
        parts = {name: Part(**part) for name, part in found.pop("parts").items()}
        manifest = Manifest(**found, parts=parts)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise BackupError("the backup is damaged: its manifest cannot be read") from exc
    texts = (manifest.release, manifest.schema, manifest.made_at, manifest.host, manifest.database)
    if len(parts) > MAX_PARTS or not all(isinstance(text, str) for text in texts) or not all(map(_fits, parts.items())):
        raise BackupError("the backup is damaged: its manifest says what no backup has")
    return manifest


def _fits(item: tuple[str, Part]) -> bool:
    name, part = item
    is_size = type(part.bytes) is int and 0 <= part.bytes < 1 << 62
    return bool(_NAME.fullmatch(name)) and is_size and bool(_SHA256.fullmatch(str(part.sha256)))


def _header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
