"""What is no acceptable request: each shape gets its status, and nothing behind it is taken for a request."""

import pytest
from wire_stand import Desk, Loop, read_all

CHUNKED = b"Transfer-Encoding: chunked"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def stand():
    loop = Loop()
    desk = type("ModuleDesk", (Desk,), {"seen": [], "held": []})
    _, address = loop.serve(desk)
    yield address, desk
    loop.close()


@pytest.fixture
def refusal(stand, connect):
    """Send bytes and return the status of the only answer; at most the first request may have been seen."""
    address, desk = stand

    def send(data):
        desk.seen.clear()
        sock = connect(address)
        sock.sendall(data)
        got = read_all(sock)
        assert got.count(b"\r\nDate: ") == 1, got
        assert b"\r\nConnection: close\r\n" in got
        assert not [one.target for one in desk.seen if one.target == b"/behind"]
        return int(got[9:12])

    return send


def post(*fields, body=b"", version=b"HTTP/1.1", host=b"Host: a"):
    lines = [b"POST /echo " + version, *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


SMUGGLING = {
    "length then coding": post(b"Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"),
    "coding then length": post(CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n"),
    "two lengths that differ": post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc"),
    "two equal lengths": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "list of lengths": post(b"Content-Length: 3, 3", body=b"abc"),
    "signed length": post(b"Content-Length: +3", body=b"abc"),
    "negative length": post(b"Content-Length: -3", body=b"abc"),
    "hexadecimal length": post(b"Content-Length: 0x3", body=b"abc"),
    "empty length": post(b"Content-Length:", body=b"abc"),
    "length with a blank inside": post(b"Content-Length: 1 0", body=b"abc"),
    "huge length": post(b"Content-Length: 99999999999999999999999", body=b"abc"),
    "length beyond 18 digits": post(b"Content-Length: 9223372036854775807", body=b"abc"),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked, gzip": post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "identity": post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "identity and chunked": post(b"Transfer-Encoding: identity", CHUNKED, body=b"0\r\n\r\n"),
    "chunked twice": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "chunked and identity": post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"),
    "vertical tab before chunked": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "coding in HTTP/1.0": post(CHUNKED, version=b"HTTP/1.0", body=b"0\r\n\r\n"),
    "empty coding": post(b"Transfer-Encoding:", body=b"0\r\n\r\n"),
    "blank before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "tab before the colon": post(b"Content-Length\t: 3", body=b"abc"),
    "folded field": post(b"X: a\r\n b", body=b""),
    "folded coding": post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
    "blank before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a field": post(b"X: a\nContent-Length: 3", body=b"abc"),
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "only bare LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF before": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare CR in a value": post(b"X: a\rb"),
    "bare CR after a field": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "NUL in a value": post(b"X: a\x00b"),
    "NUL in a name": post(b"X\x00: a"),
    "DEL in a value": post(b"X: a\x7fb"),
    "no name": post(b": a"),
    "no colon": post(b"Xa"),
    "blank in a name": post(b"X Y: a"),
    "obs-text in a name": post(b"X\xe9: a"),
    "chunk size with 0x": post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with sign": post(CHUNKED, body=b"+3\r\nabc\r\n0\r\n\r\n"),
    "chunk size with minus": post(CHUNKED, body=b"-3\r\nabc\r\n0\r\n\r\n"),
    "chunk size after a blank": post(CHUNKED, body=b" 3\r\nabc\r\n0\r\n\r\n"),
    "chunk size before a blank": post(CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"),
    "chunk size empty": post(CHUNKED, body=b"\r\nabc\r\n0\r\n\r\n"),
    "chunk size too large": post(CHUNKED, body=b"ffffffffffffffff1\r\nabc\r\n0\r\n\r\n"),
    "chunk size wraps": post(CHUNKED, body=b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "chunk size with bare LF": post(CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"),
    "chunk size with underscore": post(CHUNKED, body=b"1_0\r\n" + bytes(16) + b"\r\n0\r\n\r\n"),
    "extension with bare LF": post(CHUNKED, body=b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "extension with bare CR": post(CHUNKED, body=b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "chunk longer than its size": post(CHUNKED, body=b"2\r\nabc\r\n0\r\n\r\n"),
    "chunk ends in LF": post(CHUNKED, body=b"3\r\nabc\n0\r\n\r\n"),
    "last chunk ends in LF": post(CHUNKED, body=b"3\r\nabc\r\n0\n\r\n"),
    "length in the trailers": post(CHUNKED, body=b"0\r\nContent-Length: 3\r\n\r\n"),
    "folded trailer": post(CHUNKED, body=b"0\r\nX: a\r\n b\r\n\r\n"),
    "trailer without colon": post(CHUNKED, body=b"0\r\nXa\r\n\r\n"),
}

REQUEST_LINE = {
    "no version": (b"GET /\r\nHost: a\r\n\r\n", 400),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "HTTP/11": (b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "RTSP": (b"DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
    "RTSP GET": (b"GET_PARAMETER / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
    "ICE": (b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", 400),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "lower case": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "two blanks": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "blank at the end": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "absolute target": (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "relative target": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "raw UTF-8 target": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "NUL in the target": (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "websocket": (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 501),
    "long target": (b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "endless target": (b"GET /" + b"a" * 5000, 414),
}

FIELDS = {
    "no host": (post(host=None), 400),
    "two hosts": (post(b"Host: a"), 400),
    "two hosts that differ": (post(b"host: b"), 400),
    "empty host": (post(host=b"Host:"), 400),
    "host with a path": (post(host=b"Host: a/b"), 400),
    "host with user": (post(host=b"Host: u@a"), 400),
    "host with a blank": (post(host=b"Host: a b"), 400),
    "list of hosts": (post(host=b"Host: a, b"), 400),
    "host with a bad port": (post(host=b"Host: a:8x"), 400),
    "host in open brackets": (post(host=b"Host: [::1"), 400),
    "two authorizations": (post(b"Authorization: Bearer a", b"authorization: Bearer b"), 400),
    "two content types": (post(b"Content-Type: a/b", b"Content-Type: a/b"), 400),
    "two operation ids": (post(b"X-Request-Id: a", b"X-Request-Id: b"), 400),
    "two expectations": (post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 1"), 400),
    "another expectation": (post(b"Expect: tea", b"Content-Length: 1"), 417),
    "too many fields": (post(*[b"X%d: a" % i for i in range(20)]), 431),
    "one long field": (post(b"X: " + b"a" * 4200), 431),
    "endless field": (post()[:-2] + b"X: " + b"a" * 9000, 431),
    "many long fields": (post()[:-2] + b"".join(b"X%d: %b\r\n" % (i, b"a" * 900) for i in range(9)), 431),
    "long chunk extension": (post(CHUNKED, body=b"1;" + b"a" * 2000), 431),
    "extensions without end": (post(CHUNKED, body=(b"1;" + b"a" * 900 + b"\r\nb\r\n") * 40), 431),
    "trailers without end": (post(CHUNKED, body=b"0\r\n" + b"X: %b\r\n" % (b"a" * 900) * 40), 431),
}


@pytest.mark.parametrize("shape", SMUGGLING)
def test_a_smuggling_shape_is_400(refusal, shape):
    assert refusal(SMUGGLING[shape] + BEHIND) == 400


@pytest.mark.parametrize("shape", REQUEST_LINE)
def test_a_wrong_request_line_is_refused(refusal, shape):
    data, status = REQUEST_LINE[shape]

    assert refusal(data) == status


@pytest.mark.parametrize("shape", FIELDS)
def test_wrong_fields_are_refused(refusal, shape):
    data, status = FIELDS[shape]

    assert refusal(data) == status


@pytest.mark.parametrize(
    "host", [b"a", b"A.example:8080", b"127.0.0.1", b"[::1]:80", b"my_service", b"xn--a.example", b"a%20b", b"a:"]
)
def test_a_well_formed_host_is_taken(stand, connect, host):
    sock = connect(stand[0])

    sock.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host)

    assert read_all(sock).startswith(b"HTTP/1.1 200 ")


def test_a_refusal_says_what_was_asked_as_far_as_it_is_known(stand, connect):
    address, desk = stand
    refused = []

    class Noting(desk):
        def on_refused(self, status, detail):
            refused.append((self.method, self.target, self.fields, status, detail))
            super().on_refused(status, detail)

    loop = Loop()
    _, address = loop.serve(Noting)
    for data in (b"GET /a HTTP/1.1\r\n\r\n", b"rubbish\r\n\r\n"):
        sock = connect(address)
        sock.sendall(data)
        read_all(sock)
    loop.close()

    assert refused[0] == (b"GET", b"/a", {}, 400, "the Host field is missing")
    assert refused[1][:4] == (b"", b"", {}, 400)


def test_what_was_asked_before_the_refused_is_answered_first(stand, connect):
    sock = connect(stand[0])

    sock.sendall(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" + BEHIND)
    got = read_all(sock)

    assert [got.index(b"HTTP/1.1 200"), got.count(b"\r\nDate: "), got.count(b"HTTP/1.1 400")] == [0, 2, 1]
