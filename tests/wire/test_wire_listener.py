"""How processes share the connections of one socket."""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest
from wire_stand import LIMITS, PATIENCE_S, eventually, on_both_loops, read_until

from entrepot.wire.listener import Listener, OpenCounts
from entrepot.wire.server import Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WORKER = """
import asyncio, mmap, os, socket, sys
from entrepot.wire.clock import Clock
from entrepot.wire.limits import Limits
from entrepot.wire.listener import Listener, OpenCounts
from entrepot.wire.server import Request, Server
import uvloop

class Pid(Request):
    def on_start(self):
        self.send(200, b"", b"%d END" % os.getpid())

async def main(sock, cells, index):
    counts = OpenCounts(memoryview(mmap.mmap(cells, 4096)).cast("d")[:4], index)
    server = Server(asyncio.get_running_loop(), Limits(), Pid, Clock(), on_count=counts.publish)
    counts.publish(0)
    Listener(server.loop, socket.socket(fileno=sock), server, mean=counts.mean).start()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

uvloop.run(main(*map(int, sys.argv[1:])))
"""


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        yield sock


@pytest.fixture
def listen(loop, desk, listening):
    """Start a server behind a listener; return both."""
    started = []

    def start(**options):
        mean = options.pop("mean", None)
        server = loop.call(lambda: Server(loop.loop, LIMITS, desk, loop.clock, **options))
        loop.swept.append(server)
        listener = Listener(loop.loop, listening, server, mean=mean)
        loop.call(listener.start)
        started.append(listener)
        return server, listener

    yield start
    for listener in started:
        loop.call(listener.stop)


@pytest.mark.parametrize("count", [200])
@pytest.mark.alone
def test_four_processes_get_about_as_many_connections_each(listening, tmp_path, count):
    path = tmp_path / "cells"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as cells, contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, str(listening.fileno()), str(cells.fileno()), str(index)],
                    pass_fds=(listening.fileno(), cells.fileno()),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for index in range(4)
        ]
        for worker in workers:
            worker.stdout.readline()
        clients = [stack.enter_context(socket.create_connection(listening.getsockname())) for _ in range(count)]
        for client in clients:
            client.settimeout(PATIENCE_S)
            client.sendall(GET)
        shares = Counter(read_until(client, b" END").partition(b"\r\n\r\n")[2] for client in clients)

        assert max(shares.values()) <= 1.2 * count / 4, shares
        for worker in workers:
            worker.stdin.close()


@on_both_loops
def test_connections_are_accepted_and_counted(listen, listening, connect):
    told = []
    server, _ = listen(on_count=told.append)
    socks = [connect(listening.getsockname()) for _ in range(5)]
    for sock in socks:
        sock.sendall(GET)
        assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 ")
        sock.close()

    eventually(lambda: len(told) == 10)  # a connection is told of after it has been counted
    assert (server.accepted, server.open, told[-1]) == (5, 0, 0)


def test_who_has_more_than_the_mean_steps_back_and_takes_what_nobody_takes(listen, listening, connect):
    server, _ = listen(mean=lambda: 0.0)
    begin = time.monotonic()
    for _ in range(10):
        connect(listening.getsockname())

    eventually(lambda: server.open == 10)
    assert time.monotonic() - begin > 0.005


def test_a_full_server_leaves_connections_in_the_socket(listen, listening, connect):
    server, _ = listen(max_connections=2)
    first, second, third = (connect(listening.getsockname()) for _ in range(3))
    third.sendall(GET)
    third.settimeout(0.15)
    with pytest.raises(TimeoutError):
        third.recv(1)

    first.close()
    third.settimeout(PATIENCE_S)

    assert read_until(third, b"hello").startswith(b"HTTP/1.1 200 ")
    assert server.open == 2
    second.close()


def test_a_stopped_listener_leaves_connections_to_the_others(listen, listening, connect, loop):
    server, listener = listen()

    loop.call(listener.stop)
    connect(listening.getsockname())
    time.sleep(0.05)

    assert server.accepted == 0
    listening.setblocking(False)
    listening.accept()[0].close()


def test_without_descriptors_accepting_waits_and_says_so_without_spinning(loop, desk, caplog):
    class Exhausted:
        """A socket of a process that has no descriptor left; the listening descriptor itself is always readable."""

        def __init__(self):
            self.end, self.other = os.pipe()
            os.write(self.other, b"x")
            self.calls = 0

        def fileno(self):
            return self.end

        def setblocking(self, flag):
            pass

        def accept(self):
            self.calls += 1
            raise OSError(errno.EMFILE, "Too many open files")

    exhausted = Exhausted()
    server = loop.call(lambda: Server(loop.loop, LIMITS, desk, loop.clock))
    listener = Listener(loop.loop, exhausted, server)
    begin = time.monotonic()
    loop.call(listener.start)
    eventually(lambda: exhausted.calls)
    time.sleep(0.1)
    loop.call(listener.stop)
    took_s = time.monotonic() - begin
    os.close(exhausted.end)
    os.close(exhausted.other)

    assert exhausted.calls <= 1 + took_s / 0.5  # it tries again every half a second
    assert "no connection can be accepted" in caplog.text


def test_the_mean_leaves_out_cells_that_are_not_in_use():
    cells = [-1.0, -1.0, -1.0]
    first, second = OpenCounts(cells, 0), OpenCounts(cells, 1)
    nobody = first.mean()

    first.publish(4)
    second.publish(8)
    both = first.mean()
    second.publish(-1)

    assert (nobody, both, first.mean()) == (0.0, 6.0, 4.0)
