"""The connections to one upstream."""

from __future__ import annotations

import asyncio
import ssl as tls
from math import inf

from entrepot.wire.call import Call, Receiver, Streaming
from entrepot.wire.client import ClientConnection
from entrepot.wire.clock import Clock
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
        return sum(c.transport is None and c.receiver is not None for c in self._connections)

    def send(
        self,
        receiver: Receiver,
        head: bytes,
        body: bytes | None = None,
        *,
        head_only: bool = False,
        retry: bool = False,
        deadline: float = inf,
        streaming_body: Streaming | None = None,
        max_body_bytes: int | None = None,
    ) -> None:
        """Send *head* (request line, fields and empty line) and *body*; the answer goes to *receiver*.

        *head_only*: the method is HEAD. *retry*: may be sent once more, on a fresh connection, when a kept connection
        turns out closed before a byte of the answer; for idempotent methods; what has a body, whole or streamed, is
        sent once whatever *retry* says. *deadline*: when the answer must be complete, as ``clock.now``.

        *streaming_body*: the body follows by ``receiver.upstream.write_body`` and ``end_body``, framed as *head* says.
        Then ``Patience.body_s`` counts, and no *deadline*.

        ``receiver.upstream`` is set when this returns, and nothing has been called on *receiver* by then.
        """
        data = head + body if body else head
        retry = retry and not body and streaming_body is None
        if streaming_body is not None:
            deadline = inf
        call = Call(receiver, data, head_only, retry, deadline, streaming_body, max_body_bytes)
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

    def receivers(self) -> list[Receiver]:
        """Return who waits for an answer, or for its rest."""
        return [c.receiver for c in self._connections if c.receiver is not None]

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
