"""The ids of very many revoked tokens in one file that all processes map: sorted, so that a look needs no memory.

The file is replaced whole and never changed. Layout: a header, then sorted records of the id (``ID_BYTES``) and when
its token has expired, in seconds since 1970 (8 bytes, big-endian, so that records compare as bytes).
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil
from pathlib import Path

from entrepot.errors import StoreUnavailable
from entrepot.identity.durable import write_private

ID_BYTES = 16

_MAGIC = b"REVOKED1"
_HEADER = struct.Struct("=8sQQQd")  # magic, serial, that of the file before, number of records, when written
_RECORD_BYTES = ID_BYTES + 8
_LAST = 2**63 - 1


def id_of(jti: str) -> bytes:
    """Return what stands for *jti*, which may be any text, in ``ID_BYTES`` bytes."""
    return blake2b(jti.encode(), digest_size=ID_BYTES).digest()


def record_of(jti: str, expires_at: float) -> bytes:
    """Return the record of a token, *jti*, that has expired at *expires_at*."""
    return id_of(jti) + _time(expires_at)


class RevokedIds:
    """The ids in a file, which was written at *written_at*.

    *serial* is greater than that of the file before it, which was *follows*; 0 when there was none.
    """

    __slots__ = ("_count", "_map", "follows", "serial", "written_at")

    def __init__(self, path: Path) -> None:
        """Map the file at *path*. Raises StoreUnavailable when it is damaged, OSError."""
        with path.open("rb") as file:
            head = file.read(_HEADER.size).ljust(_HEADER.size, b"\0")
            magic, self.serial, self.follows, count, self.written_at = _HEADER.unpack(head)
            self._count: int = count
            size = file.seek(0, os.SEEK_END)
            if magic != _MAGIC or size != _HEADER.size + self._count * _RECORD_BYTES:
                raise StoreUnavailable(f"{path} is damaged; once it is gone, it is made again from the database")
            # Read ahead: nobody who looks for a token may wait for the disk.
            self._map = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, id_: bytes) -> bool:
        records, low, high = self._map, 0, self._count
        while low < high:
            middle = (low + high) // 2
            start = _HEADER.size + middle * _RECORD_BYTES
            found = records[start : start + ID_BYTES]
            if found < id_:
                low = middle + 1
            elif found == id_:
                return True
            else:
                high = middle
        return False

    def missing(self, ids: Sequence[bytes]) -> list[bytes]:
        """Return those of *ids* that are not here, many times faster than one by one: for a million of them."""
        heads = array("Q", self._map[_HEADER.size :])[:: _RECORD_BYTES // 8]
        if sys.byteorder == "little":
            heads.byteswap()
        return [id_ for id_ in ids if not self._stands_at(bisect_left(heads, int.from_bytes(id_[:8])), id_)]

    def _stands_at(self, number: int, id_: bytes) -> bool:
        """Tell whether *id_* is the record *number*, or one behind it that begins with the same 8 bytes."""
        records, start = self._map, _HEADER.size + number * _RECORD_BYTES
        while records[start : start + 8] == id_[:8]:
            if records[start : start + ID_BYTES] == id_:
                return True
            start += _RECORD_BYTES
        return False

    def living(self, now: float) -> list[bytes]:
        """Return the records of tokens that have not expired at *now*, in their order."""
        records, moment = self._map[_HEADER.size :], _time(now)
        every = (records[start : start + _RECORD_BYTES] for start in range(0, len(records), _RECORD_BYTES))
        return [record for record in every if record[ID_BYTES:] > moment]


def write_ids(path: Path, records: Sequence[bytes], *, follows: int, written_at: float) -> None:
    """Put a file with *records* at *path* in one step, and sync it; it comes after the one of the serial *follows*.

    Raises OSError.
    """
    found = sorted(records)
    serial = max(follows + 1, int(written_at * 1000))
    write_private(path, b"".join((_HEADER.pack(_MAGIC, serial, follows, len(found), written_at), *found)))


def _time(seconds: float) -> bytes:
    return max(0, min(ceil(seconds), _LAST)).to_bytes(8, "big")
