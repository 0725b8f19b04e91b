"""Request smuggling: bytes whose end two programs could see at different places are refused, the connection too.

Each shape is followed by a whole request that must never be served. Sources: RFC 9112 sections 2.2, 3.2, 5.1, 6.1,
6.3, 7.1 and 11.2; the tables of HTTP desync research.
"""

import pytest

HOST = b"Host: gateway.test\r\n"


def post(*lines, body=b"", line=b"POST /v1/echo/{name} HTTP/1.1", end=b"\r\n"):
    return line + b"\r\n" + HOST + b"{token}" + b"".join(each + b"\r\n" for each in lines) + end + body


def chunky(body, *lines):
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


CHUNKED = b"3\r\nabc\r\n0\r\n\r\n"
TE_VALUES = [
    b"xchunked",
    b"chunkedx",
    b'"chunked"',
    b"chunked;q=1",
    b"chunked,",
    b",chunked",
    b"chunked, chunked",
    b"chunked, identity",
    b"identity, chunked",
    b"identity",
    b"gzip, chunked",
    b"chunked, gzip",
    b"gzip",
    b"cow",
    b"",
    b"chun ked",
    b"chunked\x0b",
    b"chunked\x00",
    b"\x0bchunked",
    b"\x85chunked",
    b"\xa0chunked",
    b"chunk\xe9d",
    b"chunked\r",
    b"x\r\n chunked",
    b"\r\n chunked",
    b"deflate",
]

SHAPES = {
    # content-length beside chunked
    "CL.TE": post(b"Content-Length: 13", b"Transfer-Encoding: chunked", body=CHUNKED),
    "TE.CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 13", body=CHUNKED),
    "CL 0 and TE": post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=CHUNKED),
    "TE.CL folded": post(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 3", body=b"abc"),
    # names of the field that some read and some do not
    "blank before the colon": post(b"Transfer-Encoding : chunked", body=CHUNKED),
    "tab before the colon": post(b"Transfer-Encoding\t: chunked", body=CHUNKED),
    "blank before the name": post(b"X: y", b" Transfer-Encoding: chunked", body=CHUNKED),
    "NUL in the name": post(b"Transfer\x00-Encoding: chunked", body=CHUNKED),
    "vertical tab before the name": post(b"\x0bTransfer-Encoding: chunked", body=CHUNKED),
    "CR in front of the name": post(b"X: y\rTransfer-Encoding: chunked", body=CHUNKED),
    "LF in front of the name": post(b"X: y\nTransfer-Encoding: chunked", body=CHUNKED),
    "CL with a blank before the colon": post(b"Content-Length : 3", body=b"abc"),
    "empty name": post(b": chunked", body=b""),
    "no colon": post(b"Transfer-Encoding chunked", body=b""),
    "quoted name": post(b'"Content-Length": 3', body=b""),
    # Transfer-Encoding twice, or where it cannot be
    "TE twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKED),
    "TE twice, identity first": post(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=CHUNKED),
    "TE twice, cow last": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow", body=CHUNKED),
    "TE on 1.0": post(b"Transfer-Encoding: chunked", line=b"POST /v1/echo/{name} HTTP/1.0", body=CHUNKED),
    # Content-Length
    **{
        f"CL {value!r}": post(b"Content-Length: " + value, body=b"abc")
        for value in (
            b"3, 3",
            b"3,4",
            b"+3",
            b"-3",
            b"0x3",
            b"3.0",
            b"3e0",
            b"3 3",
            b"",
            b"three",
            b"\xd9\xa3",
            b"3\x0b",
            b"3_0",
            b"99999999999999999999",
            b"18446744073709551619",
            b"3;",
            b"3\x00",
        )
    },
    "CL twice, different": post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc"),
    "CL twice, the same": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "CL folded": post(b"Content-Length:\r\n 3", body=b"abc"),
    # chunks
    **{
        f"chunk {body[:14]!r}": chunky(body)
        for body in (
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"g\r\nabc\r\n0\r\n\r\n",
            b"3\nabc\n0\n\n",
            b"3\r\nabc0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\rabc\r\n0\r\n\r\n",
            b"3;a\nb\r\nabc\r\n0\r\n\r\n",
            b"3;a=\x00\r\nabc\r\n0\r\n\r\n",
            b"10000000000000003\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n0\r\nContent-Length: 9\n\r\n",
            b"3\x0b\r\nabc\r\n0\r\n\r\n",
            b"3\r\r\nabc\r\n0\r\n\r\n",
            b"3_0\r\nabc\r\n0\r\n\r\n",
        )
    },
    # line ends
    "LF alone": post(line=b"GET /v1/echo/{name} HTTP/1.1").replace(b"\r\n", b"\n"),
    "LF after the request line": b"GET /v1/echo/{name} HTTP/1.1\n" + HOST + b"{token}\r\n",
    "CR after the request line": b"GET /v1/echo/{name} HTTP/1.1\r" + HOST + b"{token}\r\n",
    "LF after a field": b"GET /v1/echo/{name} HTTP/1.1\r\nHost: gateway.test\n{token}\r\n",
    "LF ends the head": post(end=b"\n"),
    "CR LF LF": post(b"X: y", end=b"\n\r\n"),
    "folded field": post(b"X: y\r\n folded"),
    "folded with a tab": post(b"X: y\r\n\tfolded"),
    "folded first field": b"GET /v1/echo/{name} HTTP/1.1\r\n Host: gateway.test\r\n{token}\r\n",
    "CR in a value": post(b"X: a\rb"),
    "NUL in a value": post(b"X: a\x00b"),
    "DEL in a value": post(b"X: a\x7fb"),
    "BEL in a value": post(b"X: a\x07b"),
    # Host
    "no Host": b"GET /v1/echo/{name} HTTP/1.1\r\n{token}\r\n",
    "empty Host": b"GET /v1/echo/{name} HTTP/1.1\r\nHost:\r\n{token}\r\n",
    "Host twice": post(b"Host: gateway.test"),
    "Host twice, different": post(b"Host: other.test"),
    **{
        f"Host {value!r}": b"GET /v1/echo/{name} HTTP/1.1\r\nHost: " + value + b"\r\n{token}\r\n"
        for value in (
            b"a b",
            b"a/b",
            b"a@b",
            b"a,b",
            b"a:b",
            b"a:80:81",
            b"http://a",
            b"a\tb",
            b"a?b",
            b"a#b",
            b"[::1",
            b"\xe9.test",
            b"a\\b",
        )
    },
    # request line
    **{
        f"line {line!r}": line + b"\r\n" + HOST + b"{token}\r\n"
        for line in (
            b"GET  /v1/echo/{name} HTTP/1.1",
            b"GET /v1/echo/{name}  HTTP/1.1",
            b"GET\t/v1/echo/{name}\tHTTP/1.1",
            b" GET /v1/echo/{name} HTTP/1.1",
            b"GET /v1/echo/{name} HTTP/1.1 ",
            b"GET /v1/echo/{name} http/1.1",
            b"GET /v1/echo/{name} HTTP/1.1.1",
            b"GET /v1/echo/{name} HTTP/01.1",
            b"GET /v1/echo/{name} RTSP/1.0",
            b"GET /v1/echo/{name} ICE/1.0",
            b"GET /v1/echo/{name}",
            b"GET /v1/echo/ {name} HTTP/1.1",
            b"GET v1/echo/{name} HTTP/1.1",
            b"GET * HTTP/1.1",
            b"GET /v1/echo/{name}#x HTTP/1.1",
            b"GET /v1/echo/\xc3\xa9{name} HTTP/1.1",
            b"GET /v1/\x00{name} HTTP/1.1",
            b"GET http://gateway.test/v1/echo/{name} HTTP/1.1",
            b"GET /v1/echo/{name} HTTP/1.1\x00",
            b"G\x00ET /v1/echo/{name} HTTP/1.1",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        )
    },
    # what would change the protocol in the middle
    "PRI": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    **{f"TE {value!r}": post(b"Transfer-Encoding: " + value, body=CHUNKED) for value in TE_VALUES},
}
# Answered by what they ask for in the first place; their end is never in doubt because the connection closes.
OTHER_STATUS = {
    "PRI": {400, 405, 505},
    "TE twice, cow last": {400, 501},
    "line b'GET /v1/echo/{name} HTTP/01.1'": {400, 505},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ambiguous_request_is_refused_and_what_follows_is_not_served(gateway, upstream, name, assert_problem, shape):
    token = f"Authorization: Bearer {gateway.tokens['shop']}\r\n".encode()
    followers = b"GET /v1/echo/%b-smuggled HTTP/1.1\r\n%b%b\r\n" % (name.encode(), HOST, token)
    data = SHAPES[shape].replace(b"{token}", token).replace(b"{name}", name.encode()) + followers
    with gateway.wire() as wire:
        wire.send(data)
        answer = wire.answer()
        rest = wire.ends()

    assert not upstream.seen_at(f"/echo/{name}-smuggled"), "the smuggled request was served"
    assert not [request for request in upstream.seen_at(f"/echo/{name}") if request._body is not None]
    assert rest == b"", "a second answer"
    wanted = OTHER_STATUS.get(shape, {400, 501} if shape.startswith("TE ") else {400})
    assert answer.status in wanted, answer.body
    codes = {400: "bad-request", 405: "method-not-allowed", 501: "not-implemented", 505: "http-version-not-supported"}
    assert_problem(answer, answer.status, codes[answer.status])
    assert answer.header("connection") == "close"


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/3.0", b"HTTP/9.9"])
def test_other_version_is_505(gateway, assert_problem, version):
    with gateway.wire() as wire:
        wire.send(b"GET /status %b\r\n%b\r\n" % (version, HOST))
        answer = wire.answer()

        assert wire.ends() == b""
    if answer.status == 400:
        assert_problem(answer, 400, "bad-request")
    else:
        assert_problem(answer, 505, "http-version-not-supported")


def test_upgrade_with_a_body_is_not_implemented(gateway, upstream, name, assert_problem):
    head = gateway.head(
        "POST", f"/v1/echo/{name}", "Upgrade: websocket", "Connection: Upgrade", "Content-Length: 3", token="shop"
    )
    with gateway.wire() as wire:
        wire.send(head + b"abc")

        assert_problem(wire.answer(), 501, "not-implemented")
        assert wire.ends() == b""
    assert not upstream.seen_at(f"/echo/{name}")


@pytest.mark.parametrize("lines", [["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]])
def test_offer_of_h2c_is_ignored_and_not_passed_on(gateway, lines):
    answer = gateway.call("GET", "/v1/echo/h2c", *lines, token="shop")

    assert answer.status == 200, answer.body
    assert not {"upgrade", "http2-settings", "connection"} & set(answer.json()["fields"])


def test_trailer_is_not_a_field(gateway, upstream, name):
    head = gateway.head("POST", f"/v1/echo/{name}", "Transfer-Encoding: chunked", token="shop")
    with gateway.wire() as wire:
        wire.send(head + b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\nAuthorization: Bearer x\r\n\r\n")
        answer = wire.answer()

    assert answer.status == 200, answer.body
    assert answer.json()["body"] == "abc"
    assert "x-trailer" not in answer.json()["fields"]


@pytest.mark.parametrize(
    "body", [CHUNKED, b"3;ext=1\r\nabc\r\n0\r\n\r\n", b"003\r\nabc\r\n000\r\n\r\n", b'3;a="b;c"\r\nabc\r\n0\r\n\r\n']
)
def test_chunked_body_is_framed_anew_for_the_upstream(gateway, upstream, name, body):
    head = gateway.head("POST", f"/v1/echo/{name}", "Transfer-Encoding: chunked", token="shop")
    with gateway.wire() as wire:
        wire.send(head + body)
        assert wire.answer().json()["body"] == "abc"

    (seen,) = upstream.seen_at(f"/echo/{name}")
    assert b"ext" not in seen.raw
    assert (seen.header("content-length") is None) != (seen.header("transfer-encoding") is None)


def test_length_is_written_anew_for_the_upstream(gateway, upstream, name):
    with gateway.wire() as wire:
        wire.send(gateway.head("POST", f"/v1/echo/{name}", "Content-Length: 0003 ", token="shop") + b"abc")
        answer = wire.answer()

    assert answer.status in {200, 400}
    for seen in upstream.seen_at(f"/echo/{name}"):
        assert seen.header("content-length") == "3"


def test_request_behind_a_refused_one_on_the_same_connection_is_not_served(gateway, upstream, name):
    bad = b"GET /v1/echo/x HTTP/1.1\r\n\r\n"
    with gateway.wire() as wire:
        wire.send(
            gateway.head("GET", f"/v1/echo/{name}-1", token="shop")
            + bad
            + gateway.head("GET", f"/v1/echo/{name}-2", token="shop")
        )
        assert wire.answer().status == 200
        assert wire.answer().status == 400
        assert wire.ends() == b""

    assert upstream.seen_at(f"/echo/{name}-1")
    assert not upstream.seen_at(f"/echo/{name}-2")


def test_broken_off_request_line_is_no_request(gateway):
    with gateway.wire() as wire:
        wire.send(b"GET /v1/echo/half HT")
        wire.sock.shutdown(1)

        assert wire.ends()[:12] in {b"", b"HTTP/1.1 400"}
