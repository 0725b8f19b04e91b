"""The gunicorn worker of the data plane: one process, one event loop, our own HTTP.

gunicorn is the master: it forks, holds the sockets, reloads and counts heartbeats. The worker keeps to what WIRE taught
about it: signals through the loop, SIGTERM idempotent because the master repeats it, heartbeats also while draining.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from functools import partial
from types import FrameType

import uvloop
from gunicorn.workers.base import Worker

from entrepot.chassis.log import flush_log, setup_logging
from entrepot.chassis.operation import current_operation_id
from entrepot.chassis.shared import SharedState
from entrepot.gateway.exchange import Exchange
from entrepot.gateway.gateway import SWEEP_S, Gateway
from entrepot.settings import Settings
from entrepot.wire.limits import Limits
from entrepot.wire.listener import Listener
from entrepot.wire.server import Server

log = logging.getLogger(__name__)

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
DRAIN_GRACE_S = 1.0
ABORT_BEFORE_KILL_S = 0.5
SWITCH_INTERVAL_S = 0.0005
"""A thread that makes a catalog ready or writes the cache must not hold requests up for Python's usual 5 ms."""


class GatewayWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves partners until it is told to stop."""

    def init_process(self) -> None:
        """Make the loop before gunicorn sets signals and loads the application."""
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._stopping = False
        self._ticks = 0
        super().init_process()

    def init_signals(self) -> None:
        """Take signals through the loop; SIGABRT, the master's last word, shows where a blocked loop stands."""
        for name in self.SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        for name in STOPS:
            self.loop.add_signal_handler(name, self.stop)
        self.loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)
        faulthandler.enable()

    def load_wsgi(self) -> None:
        """Build the gateway in this process: nothing of it is inherited over the fork but the settings."""
        settings: Settings = self.app.wsgi()
        current_operation_id.set(None)
        setup_logging(settings.log.level, settings.log.target, patient=False, identifier="entrepot-gateway")
        self.shared = SharedState.open(settings.store.directory / "shared")
        self.shared.register()
        self.gateway = Gateway(
            settings, self.shared, self.loop, f"gateway-{os.getpid()}",
            open_intake=partial(self.app.open_intake, self.shared, self.loop),
        )  # fmt: skip
        self.gateway.load()
        self.server = Server(
            self.loop,
            _limits(settings),
            partial(Exchange, self.gateway),
            self.gateway.clock,
            max_connections=settings.gateway.max_connections,
            on_count=self._count_connections,
        )
        self.gateway.listening = tuple(address_of(sock.sock) for sock in self.sockets)
        self.listeners = [
            Listener(self.loop, sock.sock, self.server, mean=self.shared.mean_connections) for sock in self.sockets
        ]

    def _count_connections(self, count: int) -> None:
        # A worker that is about to go takes no more connections, so the others must not reckon with it.
        self.gateway.connections = count
        self.shared.set_connections(-1 if self._stopping else count)

    def run(self) -> None:
        """Serve until stopped and drained."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        self._count_connections(0)
        for listener in self.listeners:
            listener.start()
        # The master has blocked them, because until the loop runs nobody would hear them.
        self.loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, STOPS)
        self.loop.call_soon(self._sweep)
        try:
            self.loop.run_forever()
        finally:
            self.gateway.close()
            self.shared.close()
            self.loop.close()

    def _sweep(self) -> None:
        self.gateway.clock.tick()
        self._ticks += 1
        if self._ticks % 4 == 0:
            self.notify()
            if self.ppid != os.getppid():
                log.warning("the master is gone, stopping")
                self.stop()
        try:
            self._work()
        except Exception:  # without sweeps there are no deadlines, no new catalog and no stop
            log.exception("a sweep failed")
        if self._stopping and self._drained(self.gateway.clock.now):
            self.loop.stop()
            return
        self.loop.call_later(SWEEP_S, self._sweep)

    def _work(self) -> None:
        self.server.sweep(self.gateway.clock.now)
        self.gateway.sweep()
        flush_log()
        if self._ticks % 4 == 0:
            self.gateway.flush_metrics()
            self.shared.reap()

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Stop taking connections and answer what is in flight; the second call changes nothing."""
        if self._stopping:
            return
        self._stopping = True
        self.alive = False
        self._count_connections(0)
        for listener in self.listeners:
            listener.stop()
        self.server.drain(DRAIN_GRACE_S)
        self._abort_at = self.gateway.clock.now + self.cfg.graceful_timeout - ABORT_BEFORE_KILL_S

    def _drained(self, now: float) -> bool:
        opening = any(listener.opening for listener in self.listeners)
        busy = self.server.connections or opening or self.gateway.is_working
        if busy and now < self._abort_at:
            return False
        self.server.close_all()
        return True


def _limits(settings: Settings) -> Limits:
    gateway = settings.gateway
    return Limits(
        header_timeout_s=gateway.header_timeout_s, body_timeout_s=gateway.body_timeout_s,
        idle_timeout_s=gateway.idle_timeout_s, write_timeout_s=gateway.write_timeout_s,
        max_header_bytes=gateway.max_header_bytes, max_target_bytes=gateway.max_target_bytes,
        max_fields=gateway.max_fields,
    )  # fmt: skip


def address_of(sock: socket.socket) -> str:
    """Return where *sock* listens, as the settings have it."""
    address = sock.getsockname()
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return f"unix:{address}"
