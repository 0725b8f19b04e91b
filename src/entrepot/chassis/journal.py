"""Write to systemd's journal in its own protocol, and never wait for it (systemd.io/JOURNAL_NATIVE_PROTOCOL).

``systemd.journal.send`` of systemd-python waits as long as journald does not read.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from entrepot.chassis.lines import LineWriter

SOCKET = Path("/run/systemd/journal/socket")
# Longer ones are cut: a datagram holds some 200 KB.
MAX_VALUE_BYTES = 1 << 15
# In a container, where systemd cannot raise net.unix.max_dgram_qlen, the journal's socket holds ten for all who write.
BATCH_RECORDS = 4


class JournalWriter(LineWriter):
    """Gathers records, each made by ``record``, and hands them to the journal at *path* as ``LineWriter`` does lines.

    Raises OSError when nobody listens there.
    """

    __slots__ = ()

    def __init__(self, path: Path = SOCKET) -> None:
        link = _Link(path)
        # Each record is a datagram of its own.
        self._begin(link.send, 0, link.close, BATCH_RECORDS)


class _Link:
    """A connection that is made anew once when the journal has gone, and come back."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = self._connected()

    def send(self, data: bytes) -> int:
        """Send *data* as a datagram, or raise BlockingIOError when it cannot be taken now, OSError when it is lost."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            raise
        except OSError as exc:
            if exc.errno == errno.ENOBUFS:
                raise BlockingIOError from exc
            if exc.errno == errno.EMSGSIZE:
                raise
            fresh = self._connected()
            self._socket.close()
            self._socket = fresh
            return self._socket.send(data)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _connected(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            with suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
            made.connect(self._path)
        except BaseException:
            made.close()
            raise
        return made


def record(fields: Mapping[str, bytes]) -> bytes:
    """Return what the journal is sent of *fields*, whose names are upper-case letters, digits and underscores."""
    return b"".join(_field(name.encode("ascii"), value[:MAX_VALUE_BYTES]) for name, value in fields.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (name, value)
