"""What the pool and its connections make of upstreams, good and bad."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from wire_stand import LIMITS, PATIENCE_S, Inbox, eventually, on_both_loops, read_until

from entrepot.wire.client import Failure, Fault
from entrepot.wire.limits import Patience
from entrepot.wire.server import Server
from timing import least_s

OUT = b"GET /x HTTP/1.1\r\nHost: u\r\n\r\n"
POST_OUT = b"POST /x HTTP/1.1\r\nHost: u\r\nContent-Length: 3\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def ask(loop):
    """Send one request and wait for its end."""

    def send(pool, head=OUT, body=None, *, seconds=PATIENCE_S, inbox=None, **options):
        inbox = inbox or Inbox()
        loop.call(lambda: pool.send(inbox.asks(head + (body or b""), deadline=loop.clock.now + seconds, **options)))
        return inbox.wait()

    return send


@pytest.fixture
def answered(loop, upstream, ask):
    """Return (inbox, pool) for one request to an upstream that reads it and then does *steps*."""

    def run(*steps, **options):
        pool = loop.pool(upstream(["read", *steps]).address)
        return ask(pool, **options), pool

    return run


@on_both_loops
def test_a_sized_answer_comes_whole_and_the_connection_is_kept(answered):
    inbox, pool = answered(b"HTTP/1.1 201 Created\r\nX-A: 1 \r\nx-a: 2\r\nContent-Length: 2\r\n\r\nhi", "hang")

    assert (inbox.status, inbox.body, inbox.length, inbox.events) == (201, b"hi", 2, ["answer"])
    assert inbox.fields == [(b"x-a", b"1"), (b"x-a", b"2")]
    assert (pool.open, pool.idle, pool.connecting, pool.waiting) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("answer", "body", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", b"hi", 1),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", b"hi", 1),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", 0),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 1),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK, b"hi", 1),
    ],
    ids=["chunked", "1.0 kept", "1.0", "close", "204", "304", "empty", "1xx"],
)
def test_an_answer_ends_where_it_should(answered, answer, body, kept):
    inbox, pool = answered(answer, "hang")

    assert (inbox.failure, inbox.body) == (None, body)
    assert (b"link", b"x") not in inbox.fields
    assert (b"x", b"y") not in inbox.fields
    assert pool.idle == kept


def test_an_answer_may_come_byte_by_byte(answered):
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    inbox, pool = answered(*[part for byte in answer for part in (bytes([byte]), 0.001)], "hang")

    assert (inbox.body, inbox.events[0], inbox.events.count("answer"), pool.idle) == (b"hi", "answer", 1, 1)


@on_both_loops
def test_a_body_without_length_ends_with_the_connection(answered):
    inbox, pool = answered(b"HTTP/1.1 200 OK\r\n\r\nhello ", 0.02, b"world", "close")

    assert (inbox.body, inbox.length, inbox.failure) == (b"hello world", None, None)
    assert pool.open == 0


def test_a_body_without_length_that_is_reset_has_failed(answered):
    inbox, _ = answered(b"HTTP/1.1 200 OK\r\n\r\nhello ", 0.02, "reset")

    assert inbox.failure.fault is Fault.RESET


def test_trailers_are_dropped_for_good(loop, upstream, ask):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n"
    pool = loop.pool(upstream(["read", chunked, "read", OK, "hang"]).address)

    assert ask(pool).fields == [(b"transfer-encoding", b"chunked")]
    assert ask(pool).fields == []


def test_who_has_its_answer_cannot_reach_the_connection_any_more(answered):
    inbox, pool = answered(OK, "hang")

    assert (inbox.upstream, pool.idle) == (None, 1)


def test_head_ends_with_its_head(loop, upstream, ask):
    pool = loop.pool(upstream(["read", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "read", OK, "hang"]).address)

    first = ask(pool, OUT.replace(b"GET", b"HEAD"), head_only=True)
    second = ask(pool)

    assert (first.status, first.length, first.body) == (200, 9, b"")
    assert (second.body, pool.open) == (b"hi", 1)


def test_a_body_after_head_ends_the_connection(answered):
    inbox, pool = answered(OK, "hang", head=OUT.replace(b"GET", b"HEAD"), head_only=True)

    assert (inbox.body, pool.open) == (b"", 0)


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "other coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
    "bad status": b"HTTP/1.1 2OO OK\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "endless field": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: aaaaaaaa\r\n" * 7_000,
    "large head": b"HTTP/1.1 200 OK\r\n" + b"X: aaaaaaaa\r\n" * 7_000 + b"\r\n",
    "endless trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: aaaaaaaa\r\n" * 50_000,
    "endless trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 500_000,
    "endless extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 500_000,
}


@pytest.mark.parametrize("shape", GARBAGE)
def test_garbage_is_a_failure(answered, shape):
    inbox, pool = answered(GARBAGE[shape], "hang")

    assert (inbox.failure.fault, inbox.failure.sent, inbox.events[-1]) == (Fault.GARBAGE, True, "failure")
    assert inbox.events.count("failure") == 1
    assert pool.open == 0


@pytest.mark.parametrize("behind", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\0", b"rubbish\r\n\r\n"])
def test_an_answer_nobody_asked_for_ends_the_connection(answered, behind):
    inbox, pool = answered(OK + behind, "hang")

    assert (inbox.body, inbox.events, pool.open) == (b"hi", ["answer"], 0)


def test_data_on_an_idle_connection_ends_it(answered):
    inbox, pool = answered(OK, 0.03, b"HTTP/1.1 200 OK\r\n", "hang")

    assert inbox.body == b"hi"
    eventually(lambda: pool.open == 0)


def test_a_closed_idle_connection_is_forgotten(answered):
    _, pool = answered(OK, 0.03, "close")

    eventually(lambda: pool.open == pool.idle == 0)


def test_an_idle_connection_is_closed_in_time(loop, upstream, ask):
    pool = loop.pool(upstream(["read", OK, "hang"]).address, patience=Patience(idle_s=0.05))
    ask(pool)

    eventually(lambda: pool.open == 0)


@on_both_loops
def test_an_upstream_that_refuses_was_sent_nothing(loop, ask):
    with socket.socket() as unused:  # bound, so that nobody else listens there
        unused.bind(("127.0.0.1", 0))
        failure = ask(loop.pool(unused.getsockname())).failure

    assert (failure.fault, failure.sent) == (Fault.REFUSED, False)
    assert "refused" in failure.text.lower() or "connect" in failure.text.lower()


@on_both_loops
def test_an_upstream_that_does_not_accept_is_given_up(loop, ask):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        pool = loop.pool(full.getsockname(), patience=Patience(connect_s=0.1))
        failure = ask(pool).failure
        for other in others:
            other.close()

    assert failure == Failure(Fault.TIMEOUT_CONNECT, False, "no connection in time")
    assert pool.open == 0


@on_both_loops
def test_a_connection_that_came_too_late_is_not_used(loop, upstream):
    one = upstream(["read", OK])
    pool = loop.pool(one.address, patience=Patience(connect_s=0.1))
    inbox = Inbox()

    def send():
        pool.send(inbox.asks(OUT, deadline=loop.clock.now + 3))
        # As if the process had been stopped: the connection is there when it goes on.
        loop.loop.call_soon(loop.loop.call_soon, time.sleep, 0.3)

    loop.call(send)

    assert inbox.wait().failure == Failure(Fault.TIMEOUT_CONNECT, False, "no connection in time")
    assert pool.open == 0
    assert b"".join(one.received) == b""


@pytest.mark.parametrize("steps", [("close",), ("reset",), (b"HTTP/1.1 200", "close"), (OK[:-1], 0.02, "close")])
def test_an_upstream_that_closes_early_has_failed(answered, steps):
    inbox, pool = answered(*steps, retry=True)

    assert (inbox.failure.fault, inbox.failure.sent, pool.open) == (Fault.RESET, True, 0)


@pytest.mark.parametrize("steps", [("hang",), (b"HTTP/1.1 200 OK\r\n", "hang"), (OK[:-1], "hang")])
def test_an_upstream_that_hangs_is_given_up(answered, steps):
    inbox, pool = answered(*steps, seconds=0.5)

    assert (inbox.failure.fault, inbox.failure.sent, pool.open) == (Fault.TIMEOUT, True, 0)


@on_both_loops
def test_an_endless_body_ends_at_its_bound(answered):
    inbox, _ = answered(b"HTTP/1.1 200 OK\r\n\r\n", "flood", max_body_bytes=1_000_000)

    assert inbox.failure.fault is Fault.TOO_LARGE
    assert inbox.size <= 1_000_000


def test_a_body_announced_too_large_is_not_read(answered):
    inbox, _ = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", "hang", max_body_bytes=10)

    assert (inbox.failure.fault, inbox.events) == (Fault.TOO_LARGE, ["failure"])


def test_an_endless_body_ends_at_the_deadline(answered):
    inbox, _ = answered(b"HTTP/1.1 200 OK\r\n\r\n", "flood", seconds=0.5)

    assert inbox.failure.fault is Fault.TIMEOUT


@on_both_loops
def test_a_paused_answer_waits_and_its_time_is_not_the_upstreams(loop, upstream):
    pool = loop.pool(
        upstream(["read", b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", bytes(20_000_000)]).address
    )
    inbox = Inbox(pause_after=500_000)
    loop.call(lambda: pool.send(inbox.asks(OUT, deadline=loop.clock.now + 1.0)))
    eventually(lambda: "paused" in inbox.events)
    time.sleep(1.05)
    size = inbox.size

    loop.call(inbox.upstream.resume)

    assert size < 1_500_000
    assert (inbox.wait().size, inbox.failure) == (20_000_000, None)


@on_both_loops
def test_a_request_lost_on_a_kept_connection_is_sent_once_more_on_a_fresh_one(loop, upstream, ask):
    one = upstream(["read", OK, "read", "close"], ["read", OK, "hang"])
    pool = loop.pool(one.address)
    ask(pool)

    inbox = ask(pool, retry=True)

    assert (inbox.body, inbox.events, one.accepted) == (b"hi", ["answer"], 2)


def test_a_request_is_not_sent_a_third_time(loop, upstream, ask):
    one = upstream(["read", OK, "read", "close"], ["read", "close"])
    pool = loop.pool(one.address)
    ask(pool)

    assert ask(pool, retry=True).failure.fault is Fault.RESET
    assert one.accepted == 2


@pytest.mark.parametrize(
    ("second", "options"),
    [
        (["read", "close"], {}),
        (["read", b"H", "close"], {"retry": True}),
    ],
    ids=["not idempotent", "answer begun"],
)
def test_a_request_that_may_have_had_effect_is_not_sent_again(loop, upstream, ask, second, options):
    one = upstream(["read", OK, *second], ["read", OK, "hang"])
    pool = loop.pool(one.address)
    ask(pool)

    assert ask(pool, **options).failure == Failure(Fault.RESET, True, "the connection was closed")
    assert one.accepted == 1


def test_an_upstream_without_keep_alive_gets_a_connection_each(loop, upstream, ask):
    one = upstream(["read", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "close"])
    pool = loop.pool(one.address)

    bodies = [ask(pool).body for _ in range(5)]

    assert (bodies, one.accepted) == ([b"hi"] * 5, 5)
    eventually(lambda: pool.open == 0)


def test_the_connection_used_last_is_used_next(loop, upstream, ask):
    one = upstream(["read", 0.05, OK, "read", OK, "read", OK, "hang"])
    pool = loop.pool(one.address)
    inboxes = [Inbox(), Inbox()]
    loop.call(lambda: [pool.send(inbox.asks(OUT)) for inbox in inboxes])
    for inbox in inboxes:
        inbox.wait()

    assert (pool.open, ask(pool).body, ask(pool).body, one.accepted) == (2, b"hi", b"hi", 2)


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_body_is_streamed(loop, upstream, framing):
    gate = threading.Event()
    one = upstream(["read", gate, OK, "hang"])
    pool = loop.pool(one.address)
    inbox = Inbox()

    def send():
        pool.send(inbox.asks(b"POST / HTTP/1.1\r\n\r\n", streaming=framing))
        inbox.upstream.write_body(b"abc")
        return inbox.upstream

    connection = loop.call(send)
    loop.call(lambda: (connection.write_body(b"defg"), connection.end_body(), connection.write_body(b"x")))
    gate.set()
    inbox.wait()
    loop.call(pool.close)

    expected = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n" if framing == "chunked" else b"abcdefg"
    eventually(lambda: len(one.received) == 2)
    assert b"".join(one.received) == b"POST / HTTP/1.1\r\n\r\n" + expected


@on_both_loops
def test_a_body_that_is_not_read_stops_its_producer(loop, upstream):
    gate = threading.Event()
    one = upstream(["read", gate, OK, "hang"])
    pool = loop.pool(one.address)
    inbox = Inbox()

    def send():
        pool.send(inbox.asks(b"POST / HTTP/1.1\r\n\r\n", streaming="length"))
        inbox.upstream.write_body(bytes(70_000))
        assert inbox.events == ["pause"]

    loop.call(send)
    eventually(lambda: inbox.events == ["pause", "resume"])
    loop.call(lambda: inbox.upstream.write_body(bytes(20_000_000)))
    gate.set()

    assert inbox.events[:3] == ["pause", "resume", "pause"]


def test_an_early_answer_ends_the_connection(loop, upstream):
    pool = loop.pool(upstream(["read", OK, "hang"]).address)
    inbox = Inbox()

    def send():
        pool.send(inbox.asks(b"POST / HTTP/1.1\r\n\r\n", streaming="chunked"))
        return inbox.upstream

    connection = loop.call(send)

    assert inbox.wait().body == b"hi"
    assert pool.open == 0
    loop.call(lambda: (connection.write_body(b"late"), connection.end_body()))


def test_a_cancelled_request_is_heard_of_no_more(loop, upstream):
    gate = threading.Event()
    one = upstream(["read", gate, OK, "hang"])
    pool = loop.pool(one.address)
    inbox = Inbox()
    loop.call(lambda: pool.send(inbox.asks(OUT)))
    eventually(lambda: one.received)

    connection = inbox.upstream
    loop.call(lambda: (connection.cancel(), connection.cancel()))

    assert (pool.open, inbox.upstream) == (0, None)
    gate.set()
    time.sleep(0.1)
    assert inbox.events == []


def connecting_to(port):
    """Return how many sockets of this host wait for a connection to *port* of 127.0.0.1."""
    lines = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(line.split()[2:4] == [f"0100007F:{port:04X}", "02"] for line in lines)


@on_both_loops
def test_a_connection_that_is_made_for_a_cancelled_request_is_given_up(loop):
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(4):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        pool = loop.pool(full.getsockname())
        inboxes = [Inbox() for _ in range(20)]
        # One of the four is taken into the queue. What is read of the host's sockets may miss some that come and go.
        eventually(lambda: connecting_to(port) == 3)
        loop.call(lambda: [pool.send(inbox.asks(OUT)) for inbox in inboxes])
        eventually(lambda: connecting_to(port) == 23)

        loop.call(lambda: [inbox.upstream.cancel() for inbox in inboxes])

        assert pool.open == 0
        eventually(lambda: connecting_to(port) == 3)
        assert [inbox.events for inbox in inboxes] == [[]] * 20


@on_both_loops
def test_a_cancelled_request_and_its_connection_may_meet(loop, upstream, ask):
    one = upstream(["read", OK] * 6)
    pool = loop.pool(one.address)
    for delay_s in (0.0, 0.0002, 0.0005, 0.001, 0.002):
        inbox = Inbox()
        loop.call(lambda inbox=inbox: pool.send(inbox.asks(OUT)))
        time.sleep(delay_s)
        loop.call(lambda inbox=inbox: inbox.upstream and inbox.upstream.cancel())

    assert ask(pool).body == b"hi"
    eventually(lambda: pool.open == pool.idle)


def test_a_closed_pool_fails_what_is_in_flight(loop, upstream):
    pool = loop.pool(upstream(["read", "hang"]).address)
    inbox = Inbox()
    loop.call(lambda: pool.send(inbox.asks(OUT)))

    loop.call(pool.close)

    assert inbox.wait().failure.fault is Fault.CLOSED


def test_a_retired_pool_ends_what_is_idle_serves_what_is_late_and_keeps_nothing(loop, upstream, ask):
    one = upstream(["read", OK, "hang"], ["read", 0.1, OK, "hang"])
    pool = loop.pool(one.address)
    ask(pool)
    kept = pool.idle
    inbox = Inbox()
    loop.call(lambda: (pool.send(Inbox().asks(OUT)), pool.send(inbox.asks(OUT))))

    loop.call(pool.retire)

    assert (kept, inbox.wait().body, ask(pool).body) == (1, b"hi", b"hi")
    eventually(lambda: pool.idle == 0)


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_the_time_of_the_upstream_begins_when_the_body_has_ended(loop, upstream, framing):
    one = upstream(["read", "hang"])
    pool = loop.pool(one.address, patience=Patience(body_s=0.15))

    def took_s():
        inbox = Inbox()
        loop.call(lambda: pool.send(inbox.asks(b"POST / HTTP/1.1\r\n\r\n", streaming=framing)))
        for _ in range(4):
            time.sleep(0.1)
            loop.call(lambda: inbox.upstream.write_body(b"slow"))
        before = list(inbox.events)
        begun = time.monotonic()
        loop.call(inbox.upstream.end_body)

        assert before == []
        assert inbox.wait().failure == Failure(Fault.TIMEOUT, True, "no complete answer in time")
        return time.monotonic() - begun

    assert 0.1 <= least_s(took_s, 0.5) < 0.5


def test_the_time_of_an_upstream_that_does_not_read_the_body_runs(loop, upstream):
    one = upstream(["read", 2.0, "hang"])
    pool = loop.pool(one.address, patience=Patience(body_s=0.15))
    inbox = Inbox()
    loop.call(lambda: pool.send(inbox.asks(b"POST / HTTP/1.1\r\n\r\n", streaming="length")))

    loop.call(lambda: inbox.upstream.write_body(bytes(20_000_000)))

    assert inbox.wait().failure == Failure(Fault.TIMEOUT, True, "no complete answer in time", owed=True)
    assert inbox.events == ["pause", "failure"]


def test_what_breaks_while_the_body_is_owed_says_so(loop, upstream):
    pool = loop.pool(upstream(["read", "close"]).address)
    inbox = Inbox()

    loop.call(lambda: pool.send(inbox.asks(b"POST / HTTP/1.1\r\n\r\n", streaming="length")))

    assert inbox.wait().failure == Failure(Fault.RESET, True, "the connection was closed", owed=True)


@on_both_loops
def test_an_answer_is_paused_no_longer_than_the_pool_allows(loop, upstream):
    pool = loop.pool(upstream(["read", b"HTTP/1.1 200 OK\r\n\r\n", "flood"]).address, patience=Patience(pause_s=0.2))

    def took_s():
        inbox = Inbox(pause_after=100_000)
        begun = time.monotonic()
        loop.call(lambda: pool.send(inbox.asks(OUT)))
        eventually(lambda: "paused" in inbox.events)
        while not inbox.done.is_set() and time.monotonic() - begun < PATIENCE_S:
            time.sleep(0.06)  # what is paused and goes on again and again adds up
            loop.call(lambda: inbox.upstream and (inbox.upstream.resume(), inbox.upstream.pause()))

        assert inbox.wait().failure.fault is Fault.UNREAD
        return time.monotonic() - begun

    assert 0.1 < least_s(took_s, 1) < 1
    assert pool.open == 0


@on_both_loops
def test_a_unix_socket_is_an_upstream_too(loop, ask, tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        pool = loop.pool(f"unix:{path}")
        inbox = Inbox()
        loop.call(lambda: pool.send(inbox.asks(OUT)))
        peer, _ = listening.accept()
        with peer:
            read_until(peer, b"\r\n\r\n")
            peer.sendall(OK)
            assert inbox.wait().body == b"hi"


@pytest.fixture(scope="module")
def authority():
    trustme = pytest.importorskip("trustme")
    return trustme.CA()


@on_both_loops
@pytest.mark.parametrize(("name", "fault"), [("localhost", None), ("other.example", Fault.REFUSED)])
def test_tls_is_verified(loop, ask, authority, desk, name, fault):
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(asking)
    server = loop.call(lambda: Server(loop.loop, LIMITS, desk, loop.clock))
    loop.swept.append(server)
    listening = asyncio.run_coroutine_threadsafe(
        loop.loop.create_server(server.protocol, "127.0.0.1", 0, ssl=serving), loop.loop
    ).result(5)
    pool = loop.pool(listening.sockets[0].getsockname(), ssl=asking, server_hostname=name)

    inbox = ask(pool)
    loop.call(listening.close)

    assert (inbox.failure and inbox.failure.fault) is fault
    assert (inbox.status, pool.open) == ((200, 1) if fault is None else (None, 0))
