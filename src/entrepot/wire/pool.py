"""The connections to one upstream."""

from __future__ import annotations

import asyncio
import ssl as tls

from entrepot.wire.call import Call
from entrepot.wire.client import ClientConnection
from entrepot.wire.clock import Clock
from entrepot.wire.heads import KnownAnswers
from entrepot.wire.limits import Patience

_MAX_IDLE = 1_024
_PATIENCE = Patience()


class Pool:
    """Connections to *host*:*port*, or to the unix socket of ``host="unix:/path"``.

    A request goes on the idle connection used last, or on a fresh one; there is no ceiling, because places are counted
    above. Making a connection is the only work of a task. ``sweep`` must be called a few times a second, after
    ``clock.tick``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        host: str,
        port: int = 0,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        patience: Patience = _PATIENCE,
        clock: Clock,
    ) -> None:
        self.loop = loop
        self.host = host
        self.port = port
        self.ssl = ssl
        self.server_hostname = (server_hostname or host) if ssl is not None else None
        self.patience = patience
        self.clock = clock
        self.closed = False
        self.known_answers = KnownAnswers()
        self._max_idle = _MAX_IDLE
        self._connections: set[ClientConnection] = set()
        self._idle: dict[ClientConnection, None] = {}

    @property
    def open(self) -> int:
        """Connections, including those that are being made."""
        return len(self._connections)

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def connecting(self) -> int:
        """Connections that are being made."""
        return sum(connection.transport is None for connection in self._connections)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return sum(c.transport is None and c.call is not None for c in self._connections)

    def send(self, call: Call) -> None:
        """Send *call*; its ``upstream`` is set when this returns, and nothing has been called on it by then."""
        if self._idle:
            connection, _ = self._idle.popitem()
            connection.reused = True
            connection.begin(call)
        else:
            self.open_for(call)

    def open_for(self, call: Call) -> None:
        """Send *call* on a fresh connection."""
        connection = ClientConnection(self)
        self._connections.add(connection)
        connection.begin(call)
        connection.deadline = min(self.clock.now + self.patience.connect_s, call.deadline)
        connection.task = self.loop.create_task(self._connect(connection))

    async def _connect(self, connection: ClientConnection) -> None:
        try:
            if self.host.startswith("unix:"):
                await self.loop.create_unix_connection(lambda: connection, self.host[5:])
            else:
                await self.loop.create_connection(
                    lambda: connection, self.host, self.port, ssl=self.ssl, server_hostname=self.server_hostname
                )
        except OSError as exc:
            connection.not_connected(str(exc) or type(exc).__name__)

    def give_back(self, connection: ClientConnection) -> None:
        """Keep a sound *connection* for the next request."""
        if len(self._idle) >= self._max_idle:
            connection.close()
            return
        connection.deadline = self.clock.now + self.patience.idle_s
        self._idle[connection] = None

    def forget(self, connection: ClientConnection) -> None:
        """Drop *connection*, which has ended or is about to."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed at *now*."""
        due = [connection for connection in self._connections if connection.deadline <= now]
        for connection in due:
            connection.expire()

    def calls(self) -> list[Call]:
        """Return what waits for an answer, or for its rest."""
        return [c.call for c in self._connections if c.call is not None]

    def retire(self) -> None:
        """Keep no connection any more; requests in flight, and late ones, go through, each late one on its own."""
        self._max_idle = 0
        for connection in tuple(self._idle):
            connection.close()

    def close(self) -> None:
        """End every connection; requests on them fail, and so does what is sent afterwards."""
        self.closed = True
        self._max_idle = 0
        for connection in tuple(self._connections):
            connection.close()
