"""Fields that were read before: the second request is treated as the first, whatever its request line says."""

import time

import pytest
from wire_stand import Inbox, eventually, read_until

from entrepot.wire.call import Answer, Fault
from entrepot.wire.heads import KnownAnswers, KnownFields, KnownHeads

FIELDS = b"Host: a\r\nX-Kept: 1\r\nAuthorization: Bearer t\r\n"


@pytest.fixture
def again(served, connect):
    """Send a plain request with FIELDS and then *head* on the same connection; return the answer to the second."""

    def exchange(head):
        sock = connect(served[1])
        sock.sendall(b"GET / HTTP/1.1\r\n" + FIELDS + b"\r\n")
        read_until(sock, b"hello")
        sock.sendall(head)
        return read_until(sock, b"\r\n\r\n")

    return exchange


def line(text):
    return text + b"\r\n" + FIELDS + b"\r\n"


def test_equal_fields_are_read_once(again, served, desk):
    again(line(b"GET /plain?b=2 HTTP/1.1"))

    first, second = desk.seen
    assert len(served[0].known_heads) == 1
    assert first.fields is second.fields
    assert first.notes is second.notes
    assert (second.method, second.target, second.keep_alive) == (b"GET", b"/plain?b=2", True)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /a#b HTTP/1.1", b"400"),
        (b"GET http://a/ HTTP/1.1", b"400"),
        (b"GET /a\x7f HTTP/1.1", b"400"),
        (b"GET /a\xc3\xa9 HTTP/1.1", b"400"),
        (b"GET /a\tb HTTP/1.1", b"400"),
        (b"GET  /a HTTP/1.1", b"400"),
        (b"GET /a  HTTP/1.1", b"400"),
        (b"get /a HTTP/1.1", b"400"),
        (b"FETCH /a HTTP/1.1", b"400"),
        (b"CONNECT a:1 HTTP/1.1", b"501"),
        (b"GET /a HTTP/2.0", b"505"),
        (b"GET /a HTTP/1.1 ", b"400"),
        (b"GET /" + b"a" * 1100 + b" HTTP/1.1", b"414"),
    ],
)
def test_known_fields_make_no_request_line_good(again, request_line, status):
    assert again(line(request_line)).split(b" ")[1] == status


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 0\r\n",
        b"Content-Length: 2\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"Connection: close\r\n",
    ],
)
def test_fields_that_frame_a_message_are_not_remembered(served, connect, desk, loop, fields):
    sock = connect(served[1])
    sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n2\r\n\r\n")
    eventually(lambda: desk.seen)
    loop.call(lambda: None)  # by then it has done all that it does with a head

    assert len(served[0].known_heads) == 0


def test_http_1_0_and_1_1_do_not_share_what_is_known(again, desk):
    again(line(b"GET / HTTP/1.0"))

    assert [(request.minor, request.keep_alive) for request in desk.seen] == [(1, True), (0, False)]


def test_what_is_remembered_is_bounded(served, connect):
    sock = connect(served[1])
    for number in range(2100):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Id: %d\r\n\r\n" % number)
        read_until(sock, b"hello")

    assert 0 < len(served[0].known_heads) <= 2048


def test_fields_of_more_than_4_kib_are_not_remembered():
    heads = KnownHeads()
    heads.learn(b"x" * 4096, KnownFields({}, {}))
    heads.learn(b"x" * 4097, KnownFields({}, {}))

    assert [len(block) for block in heads] == [4096]


def test_heads_in_pieces_and_pipelined_are_looked_up_too(served, connect, desk):
    sock = connect(served[1])
    whole = line(b"GET / HTTP/1.1")
    sock.sendall(whole + whole + whole[:30])
    time.sleep(0.05)
    sock.sendall(whole[30:])
    eventually(lambda: len(desk.seen) == 3)

    assert [request.target for request in desk.seen] == [b"/"] * 3
    assert len({id(request.fields) for request in desk.seen[:2]}) == 1


DATED = b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 08:00:%02d GMT\r\nX-A: 1\r\nContent-Length: %d\r\n\r\n%b"


@pytest.fixture
def asked(loop, upstream):
    """Ask for one answer after the other on one connection; return the inboxes and the pool."""

    def run(*answers, **options):
        steps = [step for answer in answers for step in ("read", *(answer if isinstance(answer, tuple) else (answer,)))]
        pool = loop.pool(upstream([*steps, "hang"]).address)
        inboxes = []
        for number in range(len(answers)):
            inbox = Inbox()
            asks = options if number else {}
            loop.call(lambda inbox=inbox, asks=asks: pool.send(inbox.asks(b"GET / HTTP/1.1\r\n\r\n", **asks)))
            inboxes.append(inbox.wait())
        return inboxes, pool

    return run


def test_answers_that_differ_in_date_and_length_share_their_head(asked):
    (first, second), pool = asked(DATED % (1, 2, b"hi"), DATED % (2, 5, b"hello"))

    assert (first.body, second.body, second.length, second.status) == (b"hi", b"hello", 5, 200)
    assert first.fields is second.fields
    assert first.fields == [(b"x-a", b"1")]
    assert (pool.open, pool.idle) == (1, 1)


def test_a_known_head_with_a_body_in_pieces_is_read_as_ever(asked):
    (_, second), pool = asked(DATED % (1, 2, b"hi"), (DATED % (2, 5, b"he"), 0.05, b"llo"))

    assert (second.body, second.length) == (b"hello", 5)
    assert pool.idle == 1


def test_more_than_a_known_head_announces_spoils_the_connection(asked):
    (_, second), pool = asked(DATED % (1, 2, b"hi"), DATED % (2, 2, b"hi!"))

    assert second.body == b"hi"
    assert pool.open == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nDate: a\nb\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
    ],
)
def test_what_is_ambiguous_stays_so_beside_known_heads(asked, answer):
    plain = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi"
    (_, second), _ = asked(plain, answer)

    assert second.failure.fault is Fault.GARBAGE


def test_a_known_head_answers_head_too(asked):
    (_, second), pool = asked(DATED % (1, 2, b"hi"), DATED % (2, 2, b""), head_only=True)

    assert (second.body, second.length) == (b"", 2)
    assert pool.open == 1


def test_the_bound_of_a_call_holds_for_known_heads(asked):
    (_, second), _ = asked(DATED % (1, 2, b"hi"), DATED % (2, 5, b"hello"), max_body_bytes=4)

    assert second.failure.fault is Fault.TOO_LARGE


def test_known_answers_are_bounded():
    heads = KnownAnswers()
    for number in range(1000):
        heads.learn(b"HTTP/1.1 200 OK\r\nX-A: %d\r\nContent-Length: 2\r\n\r\n" % number, Answer(200, [], {}))

    found = [heads.find(b"HTTP/1.1 200 OK\r\nX-A: %d\r\nContent-Length: 2\r\n\r\nhi" % n) for n in range(1000)]
    assert 0 < sum(each is not None for each in found) <= 512
