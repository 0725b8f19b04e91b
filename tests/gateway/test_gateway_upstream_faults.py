"""Upstreams that refuse, hang, break off or lie: each has its status, and partners hear nothing of its insides."""

import threading
import time

import pytest
from rawclient import BrokenAnswerError
from upstream import hangs, resets, sends, streams

from timing import least_s

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BAD = (502, "upstream-bad-answer")
AWAY = (503, "upstream-unavailable")
LATE = (504, "upstream-timeout")
BEFORE_THE_ANSWER = {
    "closes without a word": (sends(b""), AWAY),
    "resets": (resets(), AWAY),
    "closes in the status line": (sends(b"HTTP/1.1 2"), AWAY),
    "closes in the head": (sends(OK + b"content-type: text/plain\r\n"), AWAY),
    "hangs": (hangs(), LATE),
    "hangs in the head": (hangs(OK + b"content-type: t"), LATE),
    "is no HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), BAD),
    "sends noise": (sends(bytes(range(256)) * 8), BAD),
    "is HTTP/0.9": (sends(b"<html>hello</html>"), BAD),
    "is HTTP/2": (sends(b"\0\0\x12\4\0\0\0\0\0"), BAD),
    "speaks TLS": (sends(b"\x15\x03\x01\x00\x02\x02\x28"), BAD),
    "has status 99": (sends(b"HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n"), BAD),
    "has a status in words": (sends(b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n"), BAD),
    "has two lengths": (sends(OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), BAD),
    "has the same length twice": (sends(OK + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"), BAD),
    "has two lengths in one field": (sends(OK + b"content-length: 3, 4\r\n\r\nabcd"), BAD),
    "has a negative length": (sends(OK + b"content-length: -1\r\n\r\n"), BAD),
    "has an endless length": (sends(OK + b"content-length: 99999999999999999999999\r\n\r\n"), BAD),
    "has a length beside chunks": (
        sends(OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        BAD,
    ),
    "has an unknown coding": (sends(OK + b"transfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), BAD),
    "has LF for CRLF": (sends(b"HTTP/1.1 200 OK\ncontent-length: 3\n\nabc"), BAD),
    "has a folded field": (sends(OK + b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n"), BAD),
    "has a NUL in a field": (sends(OK + b"x-a: b\0c\r\ncontent-length: 0\r\n\r\n"), BAD),
    "has a CR in a field": (sends(OK + b"x-a: b\rset-cookie: c\r\ncontent-length: 0\r\n\r\n"), BAD),
    "has a field without a name": (sends(OK + b": b\r\ncontent-length: 0\r\n\r\n"), BAD),
    "has 1 MB of fields": (
        sends(OK + b"".join(b"x-%d: %b\r\n" % (i, b"y" * 1000) for i in range(1000)) + b"\r\n"),
        BAD,
    ),
    "has an endless head": (streams(OK, b"x-more: " + b"y" * 1000 + b"\r\n", times=20_000), BAD),
    "switches protocols unasked": (
        sends(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        BAD,
    ),
    "sends hints for ever": (streams(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), LATE),
}
HANGING = ["hangs", "hangs in the head"]
WITHIN_S = 1.5


@pytest.fixture(scope="module")
def gathered(gateway, upstream):
    """The answers to all faults, asked for at once. Only those that come to no end have little time."""
    found = {}

    def ask(fault, path):
        found[fault] = gateway.call("GET", f"/v1{path}", token="shop")

    threads = []
    for number, (fault, (script, wanted)) in enumerate(BEFORE_THE_ANSWER.items()):
        path = f"/{'hasty' if wanted == LATE else 'echo'}/fault-{number}"
        upstream.plan(path, script)
        threads.append(threading.Thread(target=ask, args=(fault, path)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("fault", BEFORE_THE_ANSWER)
def test_fault_before_the_answer_is_a_problem(gathered, assert_problem, fault):
    status, code = BEFORE_THE_ANSWER[fault][1]

    assert_problem(gathered[fault], status, code)


def test_upstream_that_refuses_is_503(gateway, assert_problem):
    def took_s():
        begun = time.monotonic()
        assert_problem(gateway.call("GET", "/v1/gone/x", token="shop"), *AWAY)
        return time.monotonic() - begun

    assert least_s(took_s, 0.5) < 0.5


@pytest.mark.parametrize("fault", HANGING)
def test_hanging_upstream_is_given_up_at_its_timeout(gateway, upstream, name, fault):
    upstream.plan(f"/hasty/{name}", BEFORE_THE_ANSWER[fault][0])

    def took_s():
        begun = time.monotonic()
        assert gateway.call("GET", f"/v1/hasty/{name}", token="shop").status == 504
        return time.monotonic() - begun

    assert 0.4 < least_s(took_s, WITHIN_S) < WITHIN_S


def test_problem_of_an_upstream_names_neither_its_address_nor_its_words(gateway, upstream, name):
    upstream.plan(f"/echo/{name}", sends(b"220 mail.internal.example ESMTP\r\n"))

    answer = gateway.call("GET", f"/v1/echo/{name}", token="shop")

    assert answer.status == 502
    # A random id may hold the digits of a port.
    said = answer.body.replace(answer.header("x-request-id").encode(), b"")
    for secret in (b"mail.internal", b"127.0.0.1", str(upstream.port).encode()):
        assert secret not in said


VERSIONS = ["HTTP/1.1", "HTTP/1.0"]
IN_THE_BODY = {
    "closes before the length": sends(OK + b"content-length: 100\r\n\r\nabc"),
    "resets before the length": resets(OK + b"content-length: 100\r\n\r\nabc"),
    "closes between chunks": sends(CHUNKED + b"3\r\nabc\r\n"),
    "closes in a chunk": sends(CHUNKED + b"a\r\nabc"),
    "has a bad chunk": sends(CHUNKED + b"3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n"),
    "has a chunk too long": sends(CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n"),
    "hangs in the body": hangs(OK + b"content-length: 100\r\n\r\nabc"),
    "hangs between chunks": hangs(CHUNKED + b"3\r\nabc\r\n"),
}


def broken_path(number, fault):
    return f"/{'hasty' if fault.startswith('hangs') else 'echo'}/broken-{number}"


@pytest.fixture(scope="module")
def broken_off(gateway, upstream):
    """The answer, or None, to each fault in a body, over HTTP/1.1 and HTTP/1.0; all at once because some hang."""
    found = {}

    def ask(fault, version, path):
        head = gateway.head("GET", f"/v1{path}", token="shop").replace(b"HTTP/1.1", version.encode())
        with gateway.wire() as wire:
            wire.send(head)
            try:
                found[fault, version] = wire.answer()
            except (BrokenAnswerError, ConnectionResetError):
                found[fault, version] = None

    threads = []
    for number, (fault, script) in enumerate(IN_THE_BODY.items()):
        path = broken_path(number, fault)
        upstream.plan(path, script)
        threads += [threading.Thread(target=ask, args=(fault, version, path)) for version in VERSIONS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", IN_THE_BODY)
def test_fault_in_the_body_never_looks_like_a_whole_answer(broken_off, assert_problem, fault, version):
    answer = broken_off[fault, version]

    if answer is not None:
        assert answer.status in {502, 503, 504}, f"looks like a whole answer: {answer}"
        assert_problem(answer, answer.status, answer.json()["code"])
    assert_problem.serves()


@pytest.mark.parametrize("fault", IN_THE_BODY)
def test_fault_in_the_body_is_in_the_log(gateway, upstream, broken_off, fault):
    number = list(IN_THE_BODY).index(fault)

    for seen in upstream.seen_at(broken_path(number, fault)):
        lines = gateway.log_lines(seen.header("x-request-id"))
        assert any("WARNING" in line or "ERROR" in line for line in lines), lines
