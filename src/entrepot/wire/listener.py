"""Accepting connections so that several processes on one listening socket get about as many each.

The loops' own servers accept all they can per turn, and whichever process wakes first takes nearly everything. One
socket for each process (SO_REUSEPORT) would spread them, but loses what waits in a socket that a reload closes.
So each process takes one connection a turn, and one that has more than the mean steps back for some milliseconds: the
socket stays readable, and a process below the mean takes the connection meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, MutableSequence

from entrepot.wire.server import Server

log = logging.getLogger(__name__)

_BACK_OFF_S = 0.5
_FULL_S = 0.05
_STEP_BACK_S, _STEP_BACK_MAX_S = 0.005, 0.025
_SLACK, _ALLOWANCE = 1.02, 1
_BATCH = 8


class OpenCounts:
    """How many connections each process of a host has open, in *cells* that they share, one a process.

    A cell below zero is not in use. *cells* is, for example, a ``memoryview`` of a shared mapping cast to ``"d"``.
    """

    def __init__(self, cells: MutableSequence[float], index: int) -> None:
        self._cells = cells
        self._index = index

    def publish(self, count: int) -> None:
        """Tell the others that this process has *count* connections; -1 that it takes no more part."""
        self._cells[self._index] = count

    def mean(self) -> float:
        """Return the mean over the processes that take part, 0 when none does."""
        counts = [count for count in self._cells if count >= 0]
        return sum(counts) / len(counts) if counts else 0.0


class Listener:
    """Accepts connections for *server* on *sock*, which listens already and may be shared with other processes.

    *mean* returns the mean number of connections over all of them; without it nobody steps back.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        server: Server,
        *,
        mean: Callable[[], float] | None = None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._server = server
        self._mean = mean
        self._opening: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed = False

    @property
    def opening(self) -> int:
        """Connections that have been accepted and are not made yet."""
        return len(self._opening)

    def start(self) -> None:
        """Begin to accept."""
        self._socket.setblocking(False)
        self._arm()

    def stop(self) -> None:
        """Stop accepting; the socket stays open, and what waits in it is for the other processes."""
        self._disarm()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._armed = True
        self._loop.add_reader(self._socket.fileno(), self._ready)

    def _disarm(self) -> None:
        if self._armed:
            self._armed = False
            self._loop.remove_reader(self._socket.fileno())

    def _pause(self, wait_s: float, then: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self._loop.call_later(wait_s, then)

    def _open(self) -> int:
        return self._server.open + len(self._opening)

    def _ready(self) -> None:
        maximum = self._server.max_connections
        if maximum is not None and self._open() >= maximum:
            self._pause(_FULL_S, self._arm)
            return
        excess = 0.0 if self._mean is None else self._open() - self._mean() * _SLACK - _ALLOWANCE
        if excess > 0:
            self._pause(min(_STEP_BACK_S + excess / 1000, _STEP_BACK_MAX_S), self._again)
        else:
            self._accept()

    def _again(self) -> None:
        """Take some of what is still there: who has fewer is busy, and nobody shall wait for it."""
        self._arm()
        for _ in range(_BATCH):
            if not self._armed or not self._accept():
                return

    def _accept(self) -> bool:
        try:
            peer, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as exc:
            # Above all EMFILE and ENFILE; the socket stays readable, so that to try again at once would spin.
            log.error("no connection can be accepted", extra={"reason": str(exc), "retry_s": _BACK_OFF_S})
            self._pause(_BACK_OFF_S, self._arm)
            return False
        peer.setblocking(False)
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._server.protocol, peer))
        self._opening.add(task)
        task.add_done_callback(self._opened)
        return True

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("a connection was lost while it was accepted", extra={"reason": str(task.exception())})
