"""Server and client joined: bodies flow through, in both directions, no faster than their taker reads."""

import math
import resource
import socket
import threading
import time

import pytest
from wire_stand import HASTY, LIMITS, PATIENCE_S, eventually, on_both_loops, read_all, read_until

from entrepot.wire.server import Request

SIZE = 50_000_000


class Relay(Request):
    """Sends everything on, as a gateway does."""

    pool = None
    head_only = retry = False
    max_body_bytes = None

    def on_start(self):
        head = b"%b %b HTTP/1.1\r\nHost: u\r\n" % (self.method, self.target)
        framing = None
        if self.content_length:
            framing, head = "length", head + b"Content-Length: %d\r\n" % self.content_length
        elif self.chunked:
            framing, head = "chunked", head + b"Transfer-Encoding: chunked\r\n"
        self.data, self.streaming = head + b"\r\n", framing
        self.deadline = math.inf if framing else self.connection.clock.now + 20
        self.pool.send(self)
        if framing:
            self.stream_body(self)

    def on_body(self, chunk):
        if self.upstream is not None:
            self.upstream.write_body(chunk)

    def on_body_end(self):
        if self.upstream is not None:
            self.upstream.end_body()

    def on_pause_upstream(self):
        self.pause_body()

    def on_resume_upstream(self):
        self.resume_body()

    def on_answer(self, answer, body, complete, length):
        if complete:
            self.send(answer.status, b"", body, length=length)
        else:
            self.send_head(answer.status, b"", length, body)

    def on_data(self, chunk, complete):
        self.send_end(chunk) if complete else self.send_data(chunk)

    def on_pause(self):
        if self.upstream is not None:
            self.upstream.pause()

    def on_resume(self):
        if self.upstream is not None:
            self.upstream.resume()

    def on_failure(self, failure):
        if self.connection.answering:
            self.abort()
        else:
            self.send(502, b"", failure.fault.value.encode())

    def on_gone(self):
        if self.upstream is not None:
            self.upstream.cancel()


@pytest.fixture
def relayed(loop, upstream):
    """Return the address of a relay to an upstream with *script*, the upstream and the pool."""

    def start(*script, limits=LIMITS):
        one = upstream(script)
        relay = type("FreshRelay", (Relay,), {"pool": loop.pool(one.address)})
        return loop.serve(relay, limits)[1], one, relay.pool

    return start


def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@on_both_loops
@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n" % SIZE, b""], ids=["sized", "until close"])
def test_a_large_answer_goes_no_faster_than_the_peer_reads(relayed, connect, framing):
    part = bytes(1_000_000)
    address, _, pool = relayed("read", b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n", *[part] * 50, "close")
    before = peak_kib()
    sock = connect(address)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    time.sleep(0.15)
    size = 0
    while got := sock.recv(1 << 20):
        size += len(got)

    assert SIZE < size < SIZE + 100_000
    assert peak_kib() - before < 20_000
    eventually(lambda: pool.open == 0)


def test_a_large_body_goes_no_faster_than_the_upstream_reads(relayed, connect):
    address, _, _ = relayed("read", 2.0, "close")
    sock = connect(address)
    sock.settimeout(0.5)
    before = peak_kib()
    with pytest.raises(TimeoutError):
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(SIZE))
    sock.settimeout(PATIENCE_S)

    assert peak_kib() - before < 2 * SIZE / 1024 + 30_000
    assert read_until(sock, b"reset").startswith(b"HTTP/1.1 502 ")


def test_a_chunked_body_is_framed_anew(relayed, connect, loop):
    gate = threading.Event()
    address, one, pool = relayed("read", gate, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hang")
    sock = connect(address)
    sock.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    sock.sendall(b"3;x\r\nabc\r\n4\r\ndefg\r\n0\r\nT: u\r\n\r\n")
    eventually(lambda: loop.call(lambda: [call.body_complete for call in pool.calls()]) == [True])
    gate.set()

    assert read_until(sock, b"hi").startswith(b"HTTP/1.1 200 ")
    loop.call(pool.close)
    eventually(lambda: len(one.received) == 2)
    head = b"POST / HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b"".join(one.received) == head + b"7\r\nabcdefg\r\n0\r\n\r\n"


@on_both_loops
def test_the_upstream_is_let_go_when_the_peer_has_gone(relayed, connect):
    address, one, pool = relayed("read", "hang")
    sock = connect(address)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    eventually(lambda: one.received)

    sock.close()

    eventually(lambda: pool.open == 0)


@on_both_loops
def test_an_answer_that_breaks_off_is_broken_off_towards_the_peer(relayed, connect):
    address, _, _ = relayed("read", b"HTTP/1.1 200 OK\r\n\r\nhello", 0.05, "reset")
    sock = connect(address)
    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")

    assert read_all(sock).endswith(b"hello<reset>")


def test_a_peer_that_stops_reading_lets_go_of_the_upstream(relayed, connect):
    address, one, pool = relayed("read", b"HTTP/1.1 200 OK\r\n\r\n", "flood", limits=HASTY)
    sock = connect(address)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    eventually(lambda: one.received)
    eventually(lambda: pool.open == 0)
