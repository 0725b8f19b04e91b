"""What is kept for one caller never depends on, or reaches, another."""

import contextlib
import re
import threading

import pytest
from catalogs import AZURE, DECO
from problems import ProblemCheck
from rawclient import chunked


def test_kept_answer_of_a_call_is_the_callers_own(gateway):
    with gateway.wire() as wire:
        answers = []
        for token in ("shop", "rival", "shop"):
            wire.send(gateway.head("GET", "/v1/mine", token=token))
            answers.append(wire.answer())

    assert [[record["id"] for record in answer.data] for answer in answers] == [[AZURE], [DECO], [AZURE]]
    assert "hit" in answers[2].header("cache-status")


def test_only_negotiated_fields_reach_the_upstream_of_a_kept_answer(gateway, upstream, name):
    lines = ("X-Tenant: other", "Cookie: session=other", 'If-None-Match: "x"', "Accept-Language: fr")

    answer = gateway.call("GET", f"/v1/kept/{name}", *lines, token="shop")

    assert answer.status == 200
    (seen,) = upstream.seen_at(f"/kept/{name}")
    assert b"accept-language: fr\r\n" in seen.head
    assert not re.search(rb"x-tenant|cookie|if-none-match|forwarded", seen.head)


def test_request_with_a_body_is_neither_kept_nor_answered_from_what_is_kept(gateway, upstream, name):
    for _ in range(2):
        answer = gateway.call("GET", f"/v1/kept/{name}", token="shop", body=b"evil")
        assert answer.header("cache-status") is None

    assert len(upstream.seen_at(f"/kept/{name}")) == 2


@pytest.mark.parametrize("value", ["HEAD", "head", "CONNECT", ""])
def test_method_that_would_change_the_framing_cannot_be_put_over_a_post(gateway, assert_problem, value):
    answer = gateway.call("POST", "/v1/contacts", f"X-HTTP-Method-Override: {value}", token="shop", body=b"{}")

    assert_problem(answer, 400, "bad-request")


@pytest.mark.parametrize("target", ["/v1/small", "/v1/small-checked"])
def test_chunked_body_that_comes_at_once_is_counted_too(gateway, upstream, assert_problem, target):
    head = gateway.head("POST", target, "Content-Type: application/json", "Transfer-Encoding: chunked", token="shop")
    with gateway.wire() as wire:
        wire.send(head + chunked(b'{"name": "%b"}' % (b"x" * 4096)))

        assert_problem(wire.answer(), 413, "body-too-large")
    assert not upstream.seen_at(target.removeprefix("/v1"))


def test_upload_that_grows_too_large_after_the_answer_has_begun_ends_the_connection(gateway, upstream, name):
    enough = threading.Event()

    def begins_at_once(request):
        request.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        enough.wait(5)
        return False

    upstream.plan(f"/echo/{name}", begins_at_once)
    with gateway.wire() as wire:
        wire.send(gateway.head("POST", f"/v1/echo/{name}", "Transfer-Encoding: chunked", token="shop") + b"1\r\nx\r\n")
        assert wire.sock.recv(65_536).startswith(b"HTTP/1.1 200")

        with contextlib.suppress(ConnectionError):
            for _ in range(5):
                wire.send(b"10000\r\n%b\r\n" % bytes(65_536))

        rest = b""
        with contextlib.suppress(ConnectionError):
            while piece := wire.sock.recv(65_536):
                rest += piece
    enough.set()
    assert b"0\r\n\r\n" not in rest  # nobody takes what came for the whole


def test_delete_whose_body_stays_away_is_not_begun(hurried, name):
    location = hurried.call_json("POST", "/v1/contacts", {"name": name}, token="shop").header("location")
    with hurried.wire() as wire:
        wire.send(hurried.head("DELETE", location, "Content-Length: 10", token="shop"))

        ProblemCheck(hurried)(wire.answer(), 408, "request-timeout")
    assert hurried.call("GET", location, token="shop").status == 200
