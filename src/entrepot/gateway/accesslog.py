"""One line for every exchange, in the format of every other log line.

The query is left out: it may hold what a partner searches for. The clock is read once a sweep, so the stamp of a line
is up to a quarter of a second early; the duration is exact.
"""

from __future__ import annotations

from functools import lru_cache
from time import localtime, strftime
from typing import TYPE_CHECKING

from entrepot.chassis.log import LineWriter
from entrepot.gateway.operations import LATER
from entrepot.wire.clock import Clock

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

MAX_PATH = 512


class AccessLog:
    """Writes the access log of one worker through a batching writer."""

    __slots__ = ("_clock", "_stamp", "_wall", "_writer")

    def __init__(self, writer: LineWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._wall = 0.0
        self._stamp = b""

    def write(self, exchange: Exchange, status: int, took_s: float) -> None:
        """Add the line of *exchange*: method, path, status, milliseconds, endpoint, client, source."""
        wall = self._clock.wall
        if wall != self._wall:
            self._wall = wall
            self._stamp = b"%b,%03d" % (strftime("%Y-%m-%d %H:%M:%S", localtime(wall)).encode("ascii"), wall % 1 * 1000)
        operation, principal = exchange.operation, exchange.principal
        tenths = int(took_s * 10_000)
        self._writer.write(
            b"%b [INFO][%b] entrepot.access: %b %b %d %d.%dms endpoint=%b client=%b source=%b\n"
            % (
                self._stamp,
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
