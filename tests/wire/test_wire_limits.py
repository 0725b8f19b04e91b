"""Slow peers, peers that do not read, and how much of them is held."""

import resource
import time
from dataclasses import replace

import pytest
from wire_stand import DATE, HASTY, eventually, read_all, read_until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def served(loop, desk):
    """A server that waits for nobody for long: (server, address)."""
    return loop.serve(desk, HASTY)


def drip(sock, data, pause_s):
    """Send byte after byte until the peer closes; return what it said."""
    try:
        for byte in data:
            sock.sendall(bytes([byte]))
            time.sleep(pause_s)
    except OSError:
        pass
    return read_all(sock)


def test_a_head_must_be_whole_in_time_however_steadily_it_comes(served, connect):
    begin = time.monotonic()
    got = drip(connect(served[1]), GET * 20, 0.02)

    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close\r\n" in got
    assert time.monotonic() - begin < 2


def test_the_time_of_a_head_begins_with_its_first_byte(served, connect):
    sock = connect(served[1])
    time.sleep(HASTY.header_timeout_s + 0.1)
    sock.sendall(GET)

    assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 ")


def test_a_body_that_stalls_is_408(served, connect):
    sock = connect(served[1])
    sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")

    assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_a_body_gets_a_second_more_for_every_16_kib(served, connect):
    sock = connect(served[1])
    sock.sendall(b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 50001\r\n\r\n" + bytes(30_000))
    time.sleep(HASTY.body_timeout_s + 0.2)
    sock.sendall(bytes(20_001))

    assert read_until(sock, b"50001").startswith(b"HTTP/1.1 200 ")


def test_time_that_the_body_is_paused_is_not_the_peers(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    eventually(lambda: desk.held)
    held = desk.held[0]
    loop.call(held.pause_body)
    time.sleep(HASTY.body_timeout_s + 0.15)

    sock.sendall(b"defghij")
    loop.call(held.read_body, 100, lambda: held.send(200, b"", held.body))

    assert read_until(sock, b"abcdefghij").startswith(b"HTTP/1.1 200 ")


def test_who_waits_for_100_is_not_slow(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    eventually(lambda: desk.held)
    held = desk.held[0]
    time.sleep(HASTY.body_timeout_s + 0.15)

    loop.call(held.read_body, 100, lambda: held.send(200, b"", held.body))

    assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"abc")
    assert read_until(sock, b"abc").startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_closed_without_a_word(loop, desk, connect):
    _, address = loop.serve(desk, replace(HASTY, idle_timeout_s=0.5))
    fresh, used = connect(address), connect(address)
    used.sendall(GET)
    read_until(used, b"hello")

    assert read_all(fresh) == read_all(used) == b""


def test_a_peer_that_does_not_read_is_cut_and_holds_little(served, connect, desk):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sock = connect(served[1])
    sock.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")

    eventually(lambda: desk.seen and "gone" in desk.seen[0].events)

    assert desk.seen[0].events[-2:] == ["pause", "gone"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_peer_that_reads_gets_all_of_it(loop, desk, connect):
    _, address = loop.serve(desk)
    sock = connect(address)
    sock.sendall(b"GET /flood HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    size, tail = 0, b""
    while part := sock.recv(1 << 20):
        size, tail = size + len(part), (tail + part)[-7:]

    assert tail == b"\r\n0\r\n\r\n"
    assert size > 100 * 1024 * 1024
    assert "resume" in desk.seen[0].events


def test_a_whole_large_answer_that_is_not_read_is_cut(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
    eventually(lambda: desk.held)
    loop.call(desk.held[0].send, 200, b"", bytes(20_000_000))

    eventually(lambda: served[0].open == 0)


def test_requests_sent_ahead_are_held_back_in_the_socket(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
    eventually(lambda: desk.held)
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.sendall(GET * 400_000)
    (connection,) = served[0].connections

    assert len(connection.buffer) < HASTY.buffer_bytes + 300_000
    assert len(desk.seen) == 1


def test_a_body_that_nobody_takes_is_held_back_in_the_socket(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
    eventually(lambda: desk.held)
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.sendall(bytes(20_000_000))
    held = desk.held[0]
    taken = len(held.body)

    assert taken < HASTY.buffer_bytes + 300_000
    loop.call(held.send, 200, b"", b"enough")
    assert read_until(sock, b"enough") == (
        b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 6\r\nConnection: close\r\n\r\nenough"
    )


def test_thousands_of_idle_connections_cost_next_to_nothing(loop, desk):
    server, _ = loop.serve(desk)

    class Still:
        def get_extra_info(self, _name):
            return None

        def set_write_buffer_limits(self, high):
            pass

        def is_closing(self):
            return True

    connections = [server.protocol() for _ in range(5000)]
    for connection in connections:
        connection.connection_made(Still())
    begin = time.process_time()
    server.sweep(loop.clock.now)
    took_s = time.process_time() - begin
    for connection in connections:
        loop.call(connection.connection_lost, None)

    assert took_s < 0.05
