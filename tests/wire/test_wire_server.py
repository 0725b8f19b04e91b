"""What a server connection does with well-formed requests, to the byte."""

import re
import socket
import time
from dataclasses import replace

import pytest
from wire_stand import DATE, LIMITS, PATIENCE_S, eventually, on_both_loops, read_all, read_until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SAW_LAST = b"HTTP/1.1 200 OK\r\n" + DATE + b"X-Saw: GET /last\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def request(path, *fields, method=b"GET", body=b"", version=b"1.1"):
    lines = [method + b" " + path + b" HTTP/" + version, b"Host: a", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def ok(body, fields=b"", close=False):
    end = b"Connection: close\r\n" if close else b""
    return b"HTTP/1.1 200 OK\r\n" + DATE + fields + b"Content-Length: %d\r\n" % len(body) + end + b"\r\n" + body


@on_both_loops
def test_an_answer_is_exact_and_the_connection_is_kept(converse):
    assert converse(GET, LAST) == ok(b"hello", b"X-Saw: GET /\r\n") + SAW_LAST


@on_both_loops
def test_pipelined_requests_are_answered_in_order(converse, desk):
    bodies = [b"later", b"x" * 7, b"hello"]
    chunked = request(
        b"/echo", b"Transfer-Encoding: chunked", method=b"POST", body=b"3;a=b\r\nxxx\r\n4\r\nxxxx\r\n0\r\nT: t\r\n\r\n"
    )

    got = converse(request(b"/later") + chunked + LAST)

    assert got == ok(bodies[0]) + ok(bodies[1]) + SAW_LAST
    assert b"t" not in desk.seen[1].fields


def test_a_thousand_pipelined_requests_are_all_answered(converse):
    got = converse(GET * 1000 + LAST)

    assert got == ok(b"hello", b"X-Saw: GET /\r\n") * 1000 + SAW_LAST


@on_both_loops
def test_a_request_may_come_byte_by_byte(served, connect):
    sock = connect(served[1])
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    for byte in request(b"/echo", b"Content-Length: 3", b"Connection: close", method=b"POST", body=b"abc"):
        sock.sendall(bytes([byte]))

    assert read_all(sock) == ok(b"abc", close=True)


def test_empty_lines_before_a_request_are_ignored(converse):
    assert converse(b"\r\n\r\n" + LAST) == SAW_LAST
    assert converse(b"\r\n" + LAST) == SAW_LAST


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((b"Content-Length: 5",), b"abcde"),
        ((b"Content-Length:5 \t",), b"abcde"),
        ((b"Transfer-Encoding: Chunked",), b'2\r\nab\r\n003 ;x="y"\r\ncde\r\n0\r\n\r\n'),
    ],
)
def test_a_body_is_gathered(converse, fields, body):
    if b" ;" in body:
        body = body.replace(b" ;", b";")
    got = converse(request(b"/echo", *fields, b"Connection: close", method=b"POST", body=body))

    assert got == ok(b"abcde", close=True)


@on_both_loops
def test_a_large_body_is_streamed_to_its_sink(converse):
    size = 3_000_000
    got = converse(request(b"/sink", b"Content-Length: %d" % size, method=b"PUT", body=bytes(size)), LAST)

    assert got == ok(b"%d" % size) + SAW_LAST


@on_both_loops
def test_100_is_sent_when_the_body_is_wanted_and_only_then(served, connect):
    sock = connect(served[1])
    sock.sendall(request(b"/echo", b"Expect: 100-Continue", b"Content-Length: 3", method=b"POST"))

    assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"abc" + LAST)
    assert read_all(sock) == ok(b"abc") + SAW_LAST


def test_a_refused_expected_body_closes_the_connection_without_100(converse):
    got = converse(request(b"/early", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST"))

    assert got.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close\r\n" in got


def test_no_100_when_the_body_has_come(converse):
    got = converse(request(b"/echo", b"Expect: 100-continue", b"Content-Length: 3", method=b"POST", body=b"abc") + LAST)

    assert got == ok(b"abc") + SAW_LAST


def test_head_204_and_304_have_no_body(converse):
    got = converse(
        request(b"/", method=b"HEAD")
        + request(b"/chunks", method=b"HEAD")
        + request(b"/sized", method=b"HEAD")
        + request(b"/empty")
        + request(b"/unchanged")
        + request(b"/unchanged?12")
        + LAST
    )

    head = b"HTTP/1.1 200 OK\r\n" + DATE
    unchanged = b"HTTP/1.1 304 Not Modified\r\n" + DATE + b'ETag: "a"\r\n'
    assert got == (
        head + b"X-Saw: HEAD /\r\nContent-Length: 5\r\n\r\n"
        + head + b"\r\n"
        + head + b"Content-Length: 6\r\n\r\n"
        + b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n"
        + unchanged + b"\r\n"
        + unchanged + b"Content-Length: 12\r\n\r\n"
        + SAW_LAST
    )  # fmt: skip


def test_http_1_0_is_closed_unless_it_asks(converse):
    kept = request(b"/", b"Connection: Keep-Alive", version=b"1.0")
    plain = b"GET /last HTTP/1.0\r\n\r\n"

    got = converse(kept + plain)

    assert (
        got == ok(b"hello", b"X-Saw: GET /\r\n").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n") + SAW_LAST
    )


@on_both_loops
def test_a_streamed_answer_is_chunked(converse):
    got = converse(request(b"/chunks") + LAST)

    head = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n"
    assert got == head + b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n" + SAW_LAST


def test_a_streamed_answer_ends_with_the_connection_for_http_1_0(converse):
    got = converse(b"GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    assert got == b"HTTP/1.1 200 OK\r\n" + DATE + b"Connection: close\r\n\r\nonetwothree"


def test_a_streamed_answer_may_have_a_length(converse):
    assert converse(request(b"/sized") + LAST) == ok(b"onetwo") + SAW_LAST


@on_both_loops
@pytest.mark.parametrize("path", [b"/short", b"/broken"])
def test_an_answer_that_is_not_whole_breaks_the_connection(converse, path):
    assert converse(request(path)).endswith(b"<reset>")


def test_an_early_answer_drops_a_short_rest_of_the_body(served, connect):
    sock = connect(served[1])
    sock.sendall(request(b"/early", b"Content-Length: 6", method=b"POST", body=b"abc"))
    answer = read_until(sock, b"no")

    sock.sendall(b"def" + LAST)

    assert b"Connection" not in answer
    assert read_all(sock) == SAW_LAST


@on_both_loops
def test_an_early_answer_to_a_long_body_arrives_and_closes(served, connect):
    sock = connect(served[1])
    sock.sendall(request(b"/early", b"Content-Length: 1000000", method=b"POST"))
    answer = read_until(sock, b"no")
    sock.sendall(bytes(200_000))

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close\r\n" in answer
    assert read_all(sock) == b""


@on_both_loops
@pytest.mark.parametrize(
    "framing",
    [(b"Content-Length: 2000000", b""), (b"Transfer-Encoding: chunked", b"1e8480\r\n")],
    ids=["sized", "chunked"],
)
def test_413_arrives_although_the_peer_goes_on_sending(served, connect, framing):
    sock = connect(served[1])
    sock.sendall(request(b"/small", framing[0], method=b"POST", body=framing[1]))
    sock.sendall(bytes(100_000))
    time.sleep(0.05)

    got = read_all(sock)

    assert got.startswith(b"HTTP/1.1 413 ")
    assert got.endswith(b"the body is longer than 10 bytes\n")


def test_h2c_is_ignored_and_its_body_read(converse):
    upgrade = (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: x")
    got = converse(
        request(b"/", *upgrade)
        + request(b"/echo", *upgrade, b"Content-Length: 3", method=b"POST", body=b"abc")
        + request(b"/echo", *upgrade, b"Transfer-Encoding: chunked", method=b"POST", body=b"3\r\nabc\r\n0\r\n\r\n")
        + LAST
    )

    assert got == ok(b"hello", b"X-Saw: GET /\r\n") + ok(b"abc") * 2 + SAW_LAST


def test_lists_are_joined_and_names_are_lower_case(converse, desk):
    converse(
        request(b"/", b"ACCEPT: a", b"accept: b", b"Cookie: a=1", b"Cookie: b=2", b"X: \xe9 ", b"Connection: close")
    )

    assert desk.seen[0].fields == {
        b"host": b"a", b"accept": b"a, b", b"cookie": b"a=1; b=2", b"x": b"\xe9", b"connection": b"close",
    }  # fmt: skip


@on_both_loops
def test_a_peer_that_closes_its_side_is_answered_first(loop, connect, desk):
    _, address = loop.serve(desk, replace(LIMITS, half_close_s=PATIENCE_S))
    sock = connect(address)
    sock.sendall(request(b"/later") + GET)
    sock.shutdown(socket.SHUT_WR)

    assert re.findall(rb"\r\n\r\n(\w{5})", read_all(sock)) == [b"later", b"hello"]
    assert desk.seen[0].events == []


@on_both_loops
def test_a_peer_that_has_gone_is_noticed(served, connect, desk):
    sock = connect(served[1])
    sock.sendall(request(b"/hold"))
    eventually(lambda: desk.held)

    sock.close()

    eventually(lambda: desk.held[0].events == ["gone"])


@on_both_loops
def test_a_peer_gone_in_mid_body_is_noticed(served, connect, desk):
    sock = connect(served[1])
    sock.sendall(request(b"/echo", b"Content-Length: 10", method=b"POST", body=b"abc"))
    eventually(lambda: desk.seen)

    sock.close()

    eventually(lambda: desk.seen[0].events == ["gone"])
    assert served[0].open == 0


def test_a_late_answer_to_a_peer_that_has_gone_is_dropped(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(request(b"/hold"))
    eventually(lambda: desk.held)
    sock.close()
    eventually(lambda: desk.held[0].events)

    loop.call(desk.held[0].send, 200, b"", b"too late")
    loop.call(desk.held[0].send_head, 200, b"")
    loop.call(desk.held[0].send_data, b"too late")
    loop.call(desk.held[0].send_end)


@on_both_loops
def test_draining_answers_what_was_asked_and_closes(served, connect, desk, loop):
    server, address = served
    busy, idle = connect(address), connect(address)
    busy.sendall(request(b"/hold") + GET + GET)
    idle.sendall(GET)
    read_until(idle, b"hello")
    eventually(lambda: desk.held)

    loop.call(server.drain, 0.1)
    loop.call(server.drain, 0.1)
    loop.call(desk.held[0].send, 200, b"", b"held")

    hello = ok(b"hello", b"X-Saw: GET /\r\n")
    assert read_all(busy) == ok(b"held") + hello + ok(b"hello", b"X-Saw: GET /\r\n", close=True)
    assert read_all(idle) == b""
    eventually(lambda: server.open == 0)


def test_an_idle_connection_may_still_ask_during_the_grace(served, connect, loop):
    sock = connect(served[1])
    sock.sendall(GET)
    read_until(sock, b"hello")

    loop.call(served[0].drain, 5.0)
    sock.sendall(GET)

    assert read_all(sock) == ok(b"hello", b"X-Saw: GET /\r\n", close=True)


@on_both_loops
def test_close_all_breaks_every_connection(served, connect, desk, loop):
    sock = connect(served[1])
    sock.sendall(request(b"/hold"))
    eventually(lambda: desk.held)

    loop.call(served[0].close_all)

    assert read_all(sock) == b"<reset>"
    assert desk.held[0].events == ["gone"]
    assert (served[0].accepted, served[0].open) == (1, 0)
