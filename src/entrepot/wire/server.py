"""The side that partners connect to: all connections, their deadlines, their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from entrepot.wire.clock import Clock
from entrepot.wire.connection import ServerConnection
from entrepot.wire.heads import KnownHeads
from entrepot.wire.limits import Limits
from entrepot.wire.outbound import HEAD
from entrepot.wire.request import BodySink, Request

__all__ = ["BodySink", "Request", "Server", "ServerConnection"]


class Server:
    """All connections of peers, and the factory of their protocols.

    *make_request* makes the request object for a connection. *accepted* counts connections ever, *connections* holds
    the open ones; *on_count* is told their number when it changes. ``sweep`` must be called a few times a second, after
    ``clock.tick``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        make_request: Callable[[ServerConnection], Request],
        clock: Clock,
        *,
        max_connections: int | None = None,
        on_count: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.make_request = make_request
        self.clock = clock
        self.max_connections = max_connections
        self.on_count = on_count
        self.known_heads = KnownHeads()
        self.connections: set[ServerConnection] = set()
        self.accepted = 0
        self.draining = False
        self.idle_s = limits.idle_timeout_s

    @property
    def open(self) -> int:
        """Connections that are open."""
        return len(self.connections)

    def protocol(self) -> ServerConnection:
        """Return the protocol of a new connection."""
        return ServerConnection(self)

    def enter(self, connection: ServerConnection) -> None:
        """Count a connection that has been made."""
        self.accepted += 1
        self.connections.add(connection)
        if self.draining:
            # It was accepted before the drain and has been made after it.
            self._end(connection)
        self.on_count(len(self.connections))

    def leave(self, connection: ServerConnection) -> None:
        """Count a connection that has ended."""
        self.connections.discard(connection)
        self.on_count(len(self.connections))

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed at *now*."""
        due = [c for c in self.connections if c.deadline <= now or c.write_deadline <= now]
        for connection in due:
            connection.expire(now)

    def drain(self, grace_s: float) -> None:
        """Answer what has been asked, say ``Connection: close``, close idle connections after *grace_s*; idempotent."""
        self.idle_s = min(self.idle_s, grace_s)
        self.draining = True
        for connection in self.connections:
            self._end(connection)

    def _end(self, connection: ServerConnection) -> None:
        connection.ending = True
        if connection.phase == HEAD and not connection.buffer:
            connection.deadline = min(connection.deadline, self.clock.now + self.idle_s)

    def close_all(self) -> None:
        """Break every connection, answered or not."""
        for connection in tuple(self.connections):
            connection.abort()
