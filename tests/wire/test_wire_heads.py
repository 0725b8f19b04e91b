"""Fields that were read before: the second request is treated as the first, whatever its request line says."""

import time

import pytest
from wire_stand import eventually, read_until

from entrepot.wire.heads import KnownFields, KnownHeads

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
def test_fields_that_frame_a_message_are_not_remembered(served, connect, fields):
    sock = connect(served[1])
    sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n2\r\n\r\n")
    read_until(sock, b"HTTP/1.1 ")

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
