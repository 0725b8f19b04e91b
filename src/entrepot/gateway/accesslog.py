"""One line for every exchange, in the format of every other log line.

The query is left out: it may hold what a partner searches for. Lines are handed to the kernel in batches, so between
other lines of the log they may stand a quarter of a second later than their time says.
"""

from __future__ import annotations

from functools import lru_cache
from time import localtime, strftime, time
from typing import TYPE_CHECKING

from entrepot.chassis.log import LineWriter
from entrepot.gateway.operations import LATER

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

MAX_PATH = 512


class AccessLog:
    """Writes the access log of one worker through a batching writer."""

    __slots__ = ("_second", "_stamp", "_writer")

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._second = 0
        self._stamp = b""

    def write(self, exchange: Exchange, status: int, took_s: float) -> None:
        """Add the line of *exchange*: method, path, status, milliseconds, endpoint, client, source."""
        wall = time()
        second = int(wall)
        if second != self._second:
            self._second = second
            self._stamp = strftime("%Y-%m-%d %H:%M:%S", localtime(second)).encode("ascii")
        operation, principal = exchange.operation, exchange.principal
        tenths = int(took_s * 10_000)
        self._writer.write(
            b"%b,%03d [INFO][%b] entrepot.access: %b %b %d %d.%dms endpoint=%b client=%b source=%b\n"
            % (
                self._stamp,
                (wall - second) * 1000,
                exchange.operation_id,
                exchange.method,
                exchange.path[:MAX_PATH],
                status,
                tenths // 10,
                tenths % 10,
                operation.log_name if operation is not LATER else b"-",
                principal.log_name if principal is not LATER else b"-",
                _encoded(exchange.source),
            )
        )

    def flush(self) -> None:
        """Hand the lines over to the kernel."""
        self._writer.flush()


@lru_cache(maxsize=4096)
def _encoded(source: str) -> bytes:
    return source.encode("ascii", "replace")
