"""A server and upstreams on loopback for the tests of the wire: a loop in a thread, driven by blocking sockets."""

import asyncio
import contextlib
import math
import socket
import threading
import time
from dataclasses import replace

import pytest
import uvloop

from entrepot.wire.clock import Clock
from entrepot.wire.limits import Limits
from entrepot.wire.pool import Pool
from entrepot.wire.server import Request, Server

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
DATE = b"Date: Fri, 20 Nov 2026 08:00:00 GMT\r\n"
WALL = 1_795_161_600.0
on_both_loops = pytest.mark.parametrize("loop", list(LOOPS), indirect=True)
PATIENCE_S = 10.0
"""What a busy machine may take for what takes no time."""
LIMITS = Limits(
    header_timeout_s=PATIENCE_S,
    body_timeout_s=PATIENCE_S,
    idle_timeout_s=PATIENCE_S,
    write_timeout_s=PATIENCE_S,
    half_close_s=0.2,
    linger_s=0.2,
    max_header_bytes=4096,
    max_target_bytes=1024,
    max_fields=20,
)
HASTY = replace(LIMITS, header_timeout_s=0.2, body_timeout_s=1.0, write_timeout_s=0.25)
"""For what is to be cut off."""


class Loop:
    """An event loop in a thread, with a clock that ticks every 20 ms and sweeps what was registered."""

    def __init__(self, kind="uvloop"):
        self.loop = LOOPS[kind]()
        self.clock = Clock(wall=lambda: WALL)
        self.swept = []
        self.errors = []
        self._servers = []
        self.loop.set_exception_handler(lambda _loop, context: self.errors.append(context))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._sweep)
        self.loop.run_forever()

    def _sweep(self):
        self.clock.tick()
        for one in self.swept:
            one.sweep(self.clock.now)
        self.loop.call_later(0.02, self._sweep)

    def call(self, function, *arguments):
        """Run *function* on the loop and return what it returns."""

        async def run():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_S)

    def serve(self, make_request, limits=LIMITS):
        """Start a server; return it and its address."""
        server = self.call(Server, self.loop, limits, make_request, self.clock)
        listening = asyncio.run_coroutine_threadsafe(
            self.loop.create_server(server.protocol, "127.0.0.1", 0), self.loop
        ).result(PATIENCE_S)
        self.swept.append(server)
        self._servers.append((server, listening))
        return server, listening.sockets[0].getsockname()

    def pool(self, address, **options):
        """Make a pool of connections to *address*."""
        host, port = address if isinstance(address, tuple) else (address, 0)
        pool = self.call(lambda: Pool(self.loop, host=host, port=port, clock=self.clock, **options))
        self.swept.append(pool)
        return pool

    def close(self):
        """End all connections and the loop; what went wrong on it is raised."""

        def end():
            for one in self.swept:
                one.close_all() if isinstance(one, Server) else one.close()
            for _, listening in self._servers:
                listening.close()

        self.call(end)
        for _ in range(3):  # Transports end a turn or two after they were told to.
            self.call(lambda: None)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
        if self.errors:
            raise AssertionError(self.errors)


class Desk(Request):
    """Answers by path; keeps what it saw in ``seen``, newest last."""

    seen: list
    held: list

    def on_start(self):
        self.seen.append(self)
        self.events = []
        path = self.target.partition(b"?")[0].strip(b"/").decode().replace("-", "_")
        getattr(self, "do_" + path, self.do_plain)()

    def do_plain(self):
        self.send(200, b"X-Saw: %b %b\r\n" % (self.method, self.target), b"hello")

    def do_echo(self):
        self.read_body(100_000, lambda: self.send(200, b"", self.body))

    def do_small(self):
        self.read_body(10, lambda: self.send(200, b"", self.body))

    def do_sink(self):
        self.size = 0
        self.stream_body(self)

    def do_hold(self):
        self.held.append(self)

    def do_later(self):
        self.connection.server.loop.call_later(0.05, lambda: self.send(200, b"", b"later"))

    def do_early(self):
        self.send(403, b"", b"no")

    def do_empty(self):
        self.send(204, b"", b"")

    def do_unchanged(self):
        self.send(304, b'ETag: "a"\r\n', b"", length=self.wanted_length())

    def wanted_length(self):
        value = self.target.partition(b"?")[2]
        return int(value) if value else None

    def do_chunks(self):
        self.send_head(200, b"", None, b"one")
        self.send_data(b"two")
        self.send_end(b"three")

    def do_sized(self):
        self.send_head(200, b"", 6, b"one")
        self.send_data(b"two")
        self.send_end()

    def do_short(self):
        self.send_head(200, b"", 60, b"one")
        self.send_end()

    def do_broken(self):
        self.send_head(200, b"", None, b"one")
        self.abort()

    def do_flood(self):
        """Stream 100 MB as fast as the peer takes it."""
        self.left = 1600
        self.paused = False
        self.send_head(200, b"")
        self.on_resume()

    def on_resume(self):
        self.paused = False
        self.events.append("resume")
        while self.left and not self.paused and self.connection.request is self:
            self.left -= 1
            self.send_data(bytes(65_536))
        if not self.left:
            self.send_end()

    def on_pause(self):
        self.paused = True
        self.events.append("pause")

    def on_body(self, chunk):
        self.size += len(chunk)

    def on_body_end(self):
        self.send(200, b"", b"%d" % self.size)

    def on_gone(self):
        self.events.append("gone")


class Upstream:
    """Accepts connections and does with each what *script* says: bytes are sent, the rest are words.

    ``read`` reads one request head, ``read-all`` to the end, ``close``, ``reset``, ``hang``. An event is waited for, a
    number slept. A fresh connection begins the script anew unless *scripts* has several: then each connection has the
    next.
    """

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.received = []
        self.accepted = 0
        self.errors = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._peers = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                peer.settimeout(PATIENCE_S)
                self._peers.append(peer)
                script = self.scripts[min(self.accepted, len(self.scripts) - 1)]
                self.accepted += 1
                thread = threading.Thread(target=self._play, args=(peer, script), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _play(self, peer, script):
        with contextlib.suppress(OSError):
            for step in script:
                if isinstance(step, bytes):
                    peer.sendall(step)
                elif isinstance(step, float | threading.Event):
                    _pause(step)
                elif step == "read":
                    self.received.append(read_until(peer, b"\r\n\r\n"))
                elif step == "close":
                    peer.close()
                elif step == "reset":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    peer.close()
                elif step == "flood":
                    while True:
                        peer.sendall(bytes(65_536))
                elif step == "hang":
                    self.received.append(read_all(peer))

    def close(self):
        """Close every socket."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._socket.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
        for thread in self._threads:
            thread.join(5)


def _pause(until):
    if isinstance(until, threading.Event):
        until.wait(PATIENCE_S)
    else:
        time.sleep(until)


class Inbox:
    """A call that keeps what comes and lets a test wait for the end."""

    def __init__(self, pause_after=None):
        self.upstream = None
        self.asks(b"")
        self.status = self.fields = self.length = self.failure = None
        self.body = b""
        self.size = 0
        self.events = []
        self.done = threading.Event()
        self.begun = threading.Event()
        self.pause_after = pause_after

    def asks(self, data, *, head_only=False, retry=False, deadline=math.inf, streaming=None, max_body_bytes=None):
        self.data, self.head_only, self.retry = data, head_only, retry
        self.deadline, self.streaming, self.max_body_bytes = deadline, streaming, max_body_bytes
        return self

    def on_answer(self, answer, body, complete, length):
        self.events.append("answer")
        self.status, self.fields, self.length = answer.status, answer.fields, length
        self.begun.set()
        self._take(body, complete)

    def on_data(self, chunk, complete):
        self.events.append("data")
        self._take(chunk, complete)

    def _take(self, chunk, complete):
        self.size += len(chunk)
        if self.size < 1_000_000:
            self.body += chunk
        if self.pause_after is not None and self.size > self.pause_after:
            self.pause_after = None
            self.upstream.pause()
            self.events.append("paused")
        if complete:
            self.done.set()

    def on_failure(self, failure):
        self.events.append("failure")
        self.failure = failure
        self.done.set()

    def on_pause_upstream(self):
        self.events.append("pause")

    def on_resume_upstream(self):
        self.events.append("resume")

    def wait(self):
        """Return self when the answer is complete or has failed."""
        assert self.done.wait(PATIENCE_S), self.events
        return self


def read_until(sock, mark):
    """Return what comes up to and with *mark*, or up to the end."""
    data = b""
    while mark not in data:
        part = sock.recv(65_536)
        if not part:
            break
        data += part
    return data


def read_all(sock):
    """Return all that comes until the peer closes; a reset is told by the word at the end."""
    data = b""
    try:
        while part := sock.recv(65_536):
            data += part
    except ConnectionResetError:
        return data + b"<reset>"
    return data


def eventually(condition, wait_s=PATIENCE_S):
    """Wait until *condition* holds."""
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
