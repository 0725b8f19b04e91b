"""Relays pass answers of any kind on, as they are, and send nothing twice."""

import pytest
from upstream import answers, message, resets, sends

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_redirect_is_passed_on_and_not_followed(gateway, upstream, name, status):
    upstream.plan(f"/echo/{name}", answers(b"", f"location: {upstream.url}/echo/{name}-target", status=status))

    answer = gateway.call("GET", f"/v1/echo/{name}", token="shop")

    assert answer.status == int(status[:3])
    assert answer.header("location") == f"{upstream.url}/echo/{name}-target"
    assert not upstream.seen_at(f"/echo/{name}-target")


@pytest.mark.parametrize(
    "status",
    [
        "200 OK",
        "201 Created",
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "418 I'm a teapot",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "599 X",
    ],
)
def test_answer_of_any_status_is_passed_on(gateway, upstream, name, status):
    upstream.plan(f"/echo/{name}", answers(b"said so", "x-own: 1", status=status))

    answer = gateway.call("GET", f"/v1/echo/{name}", token="shop")

    assert (answer.status, answer.body, answer.header("x-own")) == (int(status[:3]), b"said so", "1")


BODILESS = {
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304": (b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n', 304, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", 304, b""),
    "empty": (OK + b"content-length: 0\r\n\r\n", 200, b""),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "HTTP/1.0 to the end": (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    "to the end": (OK + b"connection: close\r\n\r\nuntil the end", 200, b"until the end"),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + message(b"ok"), 200, b"ok"),
    "after 103": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + message(b"ok"), 200, b"ok"),
    "after three hints": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + message(b"ok"), 200, b"ok"),
    "chunked with trailer": (CHUNKED + b"2;x=y\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"ok"),
}


@pytest.mark.parametrize("case", BODILESS)
def test_answer_of_any_framing_is_passed_on(gateway, upstream, name, case):
    data, status, body = BODILESS[case]
    upstream.plan(f"/echo/{name}", sends(data))

    with gateway.wire() as wire:
        wire.send(gateway.head("GET", f"/v1/echo/{name}", token="shop") + gateway.head("GET", "/status"))
        answer = wire.answer()
        following = wire.answer()

    assert (answer.status, answer.body, following.status) == (status, body, 200)
    assert answer.interim == []
    assert answer.header("x-trailer") is None


def test_answer_that_nobody_asked_for_is_given_to_nobody(gateway, upstream, name):
    upstream.plan(f"/echo/{name}", sends(message(b"mine") + message(b"not yours"), then_close=False))

    answers_ = [
        gateway.call("GET", f"/v1/echo/{name if number == 0 else 'other'}", token="shop") for number in range(6)
    ]

    assert answers_[0].status in {200, 502}
    assert all(b"not yours" not in answer.body for answer in answers_)
    assert {answer.status for answer in answers_[1:]} == {200}


def test_idle_connection_that_the_upstream_closed_costs_no_request(gateway, upstream, name):
    def script(request):
        request.send(message(b"bye"))
        return False

    upstream.plan(f"/echo/{name}", script)

    assert [gateway.call("GET", f"/v1/echo/{name}", token="shop").status for _ in range(20)] == [200] * 20


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_write_is_not_sent_twice(gateway, upstream, name, method):
    upstream.plan(f"/echo/{name}", resets())

    answer = gateway.call(method, f"/v1/echo/{name}", token="shop", body=b"x")

    assert answer.status == 503
    assert len(upstream.seen_at(f"/echo/{name}")) == 1


def test_early_answer_while_the_body_is_sent_reaches_the_client(gateway, upstream, name):
    def script(request):
        request.send(message(b"enough", status="413 Content Too Large"))
        return False

    upstream.plan(f"/lasting/{name}", script)
    head = gateway.head("POST", f"/v1/lasting/{name}", "Content-Length: 5000000", token="shop")
    with gateway.wire() as wire:
        wire.send(head + b"x" * 100_000)
        answer = wire.answer()

    assert answer.status in {413, 503}
    assert answer.status == 413, "the upstream's early answer is lost"
