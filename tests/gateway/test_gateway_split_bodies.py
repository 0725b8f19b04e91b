"""Who may come in is asked when the body is there: what was revoked since the head came lets no write in."""

import threading

import pytest
from ledgers import fixture, key, memories, rows
from problems import ProblemCheck
from running import eventually
from test_gateway_changes import claims_of
from upstream import message

from timing import stay_within_a_day

pytestmark = pytest.mark.slow

BEGINNING, REST = b'{"pad": "' + b"x" * 60_000, b'"}'

own = fixture()


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


def begin(own, wire, path, token, *lines):
    """Send the head and a part of the body, and return when the worker waits for the rest."""
    length = f"Content-Length: {len(BEGINNING + REST)}"
    wire.send(own.head("POST", f"/v1{path}", "Content-Type: application/json", length, *lines, token=token))
    assert not wire.readable(0.2)
    wire.send(BEGINNING)
    assert not wire.readable(0.2)


def revoke(own, token):
    own.entrepot("token", "revoke", "--jti", claims_of(token)["jti"])


WRITES = {"queued": ("/queued/{}", False), "queued, with a key": ("/queued/{}", True), "direct": ("/plain/{}", True)}


@pytest.mark.parametrize("case", WRITES)
def test_write_whose_token_was_revoked_before_its_body_was_whole_is_refused(own, upstream, assert_problem, name, case):
    path, has_key = WRITES[case]
    path, token = path.format(name), own.issue("shop")
    before = len(rows(own)), len(memories(own))

    with own.wire() as wire:
        begin(own, wire, path, token, *([key(name)] if has_key else []))
        revoke(own, token)
        wire.send(REST)
        answer = wire.answer()

    assert_problem(answer, 401, "invalid-token", detail="revoked")
    assert (len(rows(own)), len(memories(own))) == before
    assert upstream.seen_at(path) == []


def test_write_of_a_client_that_was_disabled_before_its_body_was_whole_is_refused(own, assert_problem, name):
    token, before = own.issue("steady"), len(rows(own))
    try:
        with own.wire() as wire:
            begin(own, wire, f"/queued/{name}", token)
            own.entrepot("client", "disable", "steady")
            wire.send(REST)
            answer = wire.answer()
    finally:
        own.entrepot("client", "enable", "steady")

    assert_problem(answer, 401, "invalid-token", detail="disabled")
    assert len(rows(own)) == before


def test_write_in_two_pieces_takes_one_from_the_limits(own, name):
    def left(*, is_split):
        with own.wire() as wire:
            if is_split:
                begin(own, wire, f"/queued/{name}", own.tokens["planned"])
                wire.send(REST)
            else:
                wire.send(own.head("POST", f"/v1/queued/{name}", token="planned", body=b"{}"))
            answer = wire.answer()
        assert answer.status == 202, answer.body
        return int(answer.header("ratelimit").rpartition("r=")[2].partition(";")[0])

    stay_within_a_day()
    before = left(is_split=False)

    assert left(is_split=True) == before - 1


def test_streamed_relay_that_has_begun_goes_on(own, upstream, name):
    begun, token = threading.Event(), own.issue("shop")

    def script(request):
        begun.set()
        request.send(message(b"%d" % len(request.read_body())))

    upstream.plan(f"/lasting/{name}", script)
    with own.wire() as wire:
        begin(own, wire, f"/lasting/{name}", token)
        assert begun.wait(10)
        revoke(own, token)
        assert eventually(lambda: own.call("GET", f"/v1/plain/{name}", token=token).status == 401)
        wire.send(REST)

        assert wire.answer().body == b"%d" % len(BEGINNING + REST)
