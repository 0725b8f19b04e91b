"""What is written down of an exchange: a line in the format of every other log line, or a record of the journal.

The query is left out: it may hold what a partner searches for. So is a token, secret or API key in the path. Lines are
handed over in batches, so between others of the log they may stand a quarter of a second later than their time says.
"""

from __future__ import annotations

import re
from functools import lru_cache
from time import localtime, strftime, time
from typing import TYPE_CHECKING

from entrepot.chassis.journal import JournalWriter
from entrepot.chassis.lines import LineWriter
from entrepot.chassis.log import STDERR_FD, goes_to_journal
from entrepot.gateway.operations import LATER
from entrepot.gateway.stages.match import TRANSACTIONS
from entrepot.settings import LogSettings

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

MAX_PATH = 512
# Shorter paths hold no token, secret or API key.
_SECRET_CHARS = 40
_SECRET = re.compile(rb"(?:eyJ|e[aos][ks]_)[A-Za-z0-9._~%-]{16,}")
_ONE_TRANSACTION = TRANSACTIONS + b"/"
_WITHOUT_END = 1 << 62
_FAULT, _GOOD = 0, 1


def open_access_log(settings: LogSettings) -> AccessLog:
    """Return the access log of this worker: in the journal, where the log goes there, else on standard error.

    Raises OSError for a journal that cannot be reached.
    """
    if goes_to_journal(settings.target):
        return JournalAccessLog(JournalWriter(), settings)
    return AccessLog(LineWriter(STDERR_FD), settings)


class AccessLog:
    """Writes what *settings* ask for through a batching *writer*, as lines.

    *left_out* counts what was asked for, and was more than is written in a second.
    """

    __slots__ = ("_good", "_left", "_most", "_second", "_slow_s", "_stamp", "_step", "_writer", "left_out")

    def __init__(self, writer: LineWriter, settings: LogSettings) -> None:
        self._writer = writer
        self._slow_s = settings.access_slow_s
        self._step = {"all": 1, "errors": 0, "sampled": settings.access_sample}[settings.access]
        self._good = 0
        self._most = self._most_of(settings)
        self._left = [self._most, self._most]
        self._second = 0
        self._stamp = b""
        self.left_out = 0

    @staticmethod
    def _most_of(_settings: LogSettings) -> int:
        """Return how many good ones, and how many others, are written in a second: a file takes all."""
        return _WITHOUT_END

    @property
    def dropped(self) -> int:
        """How many lines were dropped because their reader was too slow."""
        return self._writer.dropped

    def write(self, exchange: Exchange, status: int, took_s: float) -> None:
        """Write *exchange* down, unless the settings ask for others only."""
        kind = _GOOD if status < 400 and took_s < self._slow_s else _FAULT
        if kind == _GOOD and self._step != 1:
            self._good += 1
            if self._step == 0 or self._good % self._step:
                return
        wall = time()
        second = int(wall)
        if second != self._second:
            self._begin(second)
        left = self._left
        if left[kind] <= 0:
            self.left_out += 1
            return
        left[kind] -= 1
        self._writer.write(self._line(exchange, status, int(took_s * 10_000), wall))

    def flush(self) -> None:
        """Hand the lines over to the kernel."""
        self._writer.flush()

    def close(self) -> None:
        """Hand the lines over, and write no more."""
        self._writer.close()

    def _begin(self, second: int) -> None:
        self._second = second
        self._stamp = strftime("%Y-%m-%d %H:%M:%S", localtime(second)).encode("ascii")
        self._left = [self._most, self._most]

    def _line(self, exchange: Exchange, status: int, tenths: int, wall: float) -> bytes:
        """Return method, path, status, milliseconds, endpoint, client and source."""
        operation, principal = exchange.operation, exchange.principal
        return b"%b,%03d [INFO][%b] entrepot.access: %b %b %d %d.%dms endpoint=%b client=%b source=%b\n" % (
            self._stamp,
            (wall - self._second) * 1000,
            exchange.operation_id,
            exchange.method,
            _shown(exchange.path),
            status,
            tenths // 10,
            tenths % 10,
            operation.log_name if operation is not LATER else b"-",
            principal.log_name if principal is not LATER else b"-",
            _encoded(exchange.source),
        )


class JournalAccessLog(AccessLog):
    """The same for the journal: each fact is a field."""

    __slots__ = ()

    @staticmethod
    def _most_of(settings: LogSettings) -> int:
        """Return how many the journal is given: it writes some hundred bytes of each to disk."""
        return settings.access_most

    def _line(self, exchange: Exchange, status: int, tenths: int, wall: float) -> bytes:  # noqa: ARG002 - it has a clock
        operation, principal = exchange.operation, exchange.principal
        method, path, source = exchange.method, _shown(exchange.path), _encoded(exchange.source)
        endpoint = operation.log_name if operation is not LATER else b"-"
        client, partner = b"-", b""
        if principal is not LATER:
            client, partner = principal.log_name, b"PARTNER=%b\n" % principal.log_partner
        return (
            b"MESSAGE=%b %b %d %d.%dms endpoint=%b client=%b source=%b\nPRIORITY=%d\n"
            b"SYSLOG_IDENTIFIER=entrepot-gateway\nLOGGER=entrepot.access\nOPERATION_ID=%b\nMETHOD=%b\nPATH=%b\n"
            b"STATUS=%d\nTOOK_MS=%d.%d\nENDPOINT=%b\nCLIENT=%b\nSOURCE=%b\n%b%b"
        ) % (
            method, path, status, tenths // 10, tenths % 10, endpoint, client, source, 4 if status >= 500 else 6,
            exchange.operation_id, method, path,
            status, tenths // 10, tenths % 10, endpoint, client, source, partner, _transaction(exchange),
        )  # fmt: skip


def _transaction(exchange: Exchange) -> bytes:
    """Return the field of the transaction that *exchange* has made or asked for; nothing when there is none."""
    write = exchange.write
    if write is not None:
        return b"TRANSACTION=%b\n" % write.transaction.encode("ascii") if write.transaction else b""
    if exchange.path.startswith(_ONE_TRANSACTION):
        return b"TRANSACTION=%b\n" % _shown(exchange.path[len(_ONE_TRANSACTION) :])
    return b""


def _shown(path: bytes) -> bytes:
    """Return *path*, cut, without what somebody has put there by mistake."""
    return path if len(path) < _SECRET_CHARS else _SECRET.sub(b"***", path)[:MAX_PATH]


@lru_cache(maxsize=4096)
def _encoded(source: str) -> bytes:
    return source.encode("ascii", "replace")
