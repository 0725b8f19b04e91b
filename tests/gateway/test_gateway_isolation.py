"""What is kept for one caller never depends on, or reaches, another."""

import re

import pytest
from catalogs import AZURE, DECO
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
