import contextlib
import socket

import pytest
from wire_stand import PATIENCE_S, Desk, Loop, Upstream, read_all


@pytest.fixture
def loop(request):
    """A running loop: uvloop, or what a test marked ``on_both_loops`` says."""
    with contextlib.closing(Loop(getattr(request, "param", "uvloop"))) as running:
        yield running


@pytest.fixture
def desk():
    return type("FreshDesk", (Desk,), {"seen": [], "held": []})


@pytest.fixture
def served(loop, desk):
    """A server that answers as ``Desk`` does: (server, address)."""
    return loop.serve(desk)


@pytest.fixture
def connect():
    """Open connections that are closed when the test ends."""
    opened = []

    def open_one(address):
        sock = socket.create_connection(address, timeout=PATIENCE_S)
        opened.append(sock)
        return sock

    yield open_one
    for sock in opened:
        sock.close()


@pytest.fixture
def converse(served, connect):
    """Send bytes on a fresh connection and return all that comes back until the server closes."""

    def exchange(*parts):
        sock = connect(served[1])
        for part in parts:
            sock.sendall(part)
        return read_all(sock)

    return exchange


@pytest.fixture
def upstream():
    """Make upstreams that follow a script."""
    made = []

    def make(*scripts):
        made.append(Upstream(*scripts))
        return made[-1]

    yield make
    for one in made:
        one.close()
