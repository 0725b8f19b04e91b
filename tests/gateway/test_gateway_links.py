"""What callers do slowly, change or leave is not their upstream's fault, and what has begun is served to its end."""

import json
import os
import signal
import time

import pytest
from catalogs import relay
from rawclient import BrokenAnswerError
from running import START_S, eventually
from upstream import message, streams

from timing import least_s

JSON = "Content-Type: application/json"
BODY = b'{"name": "a"}'


def breaker(gateway, upstream):
    """Return what the status page says of the breaker of *upstream*."""
    return gateway.call("GET", "/status").json()["upstreams"][upstream]["breaker"]


def answers_after(seconds):
    """Return a script that reads the request, works on it for *seconds* and answers."""

    def script(request):
        request.read_body()
        time.sleep(seconds)
        request.send(message(b"{}"))

    return script


def test_body_that_comes_slowly_takes_nothing_of_the_upstreams_time(gateway, upstream):
    before = len(upstream.seen_at("/prompt-checked"))
    with gateway.wire() as wire:
        head = gateway.head("POST", "/v1/prompt-checked", JSON, token="shop", body=BODY)
        wire.send(head[:-3])
        time.sleep(2.2)  # the upstream's timeout is 2 s
        wire.send(head[-3:])
        status = wire.answer().status

    assert status == 200
    assert len(upstream.seen_at("/prompt-checked")) == before + 1


def test_upload_may_take_longer_than_the_upstreams_time_and_the_limit_of_a_small_body(hurried, upstream, name):
    pieces, size = 70, 2048
    with hurried.wire() as wire:
        wire.send(hurried.head("POST", f"/v1/prompt/{name}", f"Content-Length: {pieces * size}", token="shop"))
        for _ in range(pieces):  # 3.5 s, and 3 s are what timeout and body_timeout make together
            wire.send(b"x" * size)
            time.sleep(0.05)
        answer = wire.answer()

    assert answer.status == 200
    assert len(answer.json()["body"]) == pieces * size


def test_upstream_that_answers_too_late_after_an_upload_is_given_up(gateway, upstream, name, assert_problem):
    upstream.plan(f"/hasty/{name}", answers_after(2.0))

    def took_s():
        with gateway.wire() as wire:
            wire.send(gateway.head("POST", f"/v1/hasty/{name}", "Content-Length: 4", token="shop"))
            time.sleep(0.2)
            begun = time.monotonic()
            wire.send(b"last")
            answer = wire.answer()
            ended = time.monotonic()
        assert_problem(answer, 504, "upstream-timeout")
        return ended - begun

    assert 0.45 < least_s(took_s, 1.5) < 1.5


def test_uploads_that_are_reset_by_the_upstream_do_not_open_the_breaker(gateway, upstream, name):
    path = f"/brittle/{name}"
    upstream.plan(path, lambda request: request.reset() or False)
    statuses = []
    for _ in range(4):
        with gateway.wire() as wire:
            wire.send(gateway.head("POST", f"/v1{path}", "Content-Length: 10", token="shop") + b"half")
            statuses.append(wire.answer().status)

    assert statuses == [503] * 4
    assert breaker(gateway, "brittle") == "closed"


def test_request_that_began_before_its_upstream_changed_is_served(gateway, upstream, name):
    http = dict(gateway.document["upstreams"]["brittle"], timeout="5s")
    checked = dict(gateway.document["endpoints"]["checked"], max_body="1MiB")
    document = {
        "upstreams": {f"u-{name}": http},
        "endpoints": {f"e-{name}": {**checked, **relay(f"/{name}", f"u-{name}", methods=["POST"])}},
    }
    gateway.apply(f"{name}.yaml", document)
    target = f"/v1/{name}"
    with gateway.wire() as slow:
        # On the same connection: other workers may have had the endpoint earlier.
        first = gateway.head("POST", target, JSON, token="shop", body=BODY)
        assert eventually(lambda: slow.send(first) or slow.answer().status == 200)
        # A second more for each 16 KiB: what begins now must outlast the change.
        head = gateway.head("POST", target, JSON, token="shop", body=b" " * 81_920 + BODY)
        slow.send(head[:-3])
        http["wait"] = "1s"
        gateway.bring_in(f"{name}.yaml", document)
        slow.send(head[-3:])
        status = slow.answer().status

    assert status == 200
    assert breaker(gateway, f"u-{name}") == "closed"


# What needs a daemon of its own.


@pytest.fixture(scope="module")
def impatient(make_daemon):
    """A daemon of one worker that lets answers be read slowly for 2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTREPOT_GATEWAY_WRITE_TIMEOUT", "2s")
        yield make_daemon(workers=1)


def test_slow_readers_do_not_keep_others_from_the_upstream_for_long(impatient, upstream, name):
    upstream.plan(
        f"/narrow/{name}", streams(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"x" * 65536, framed=True)
    )
    wires = [impatient.wire(receive_buffer=65536) for _ in range(2)]
    for wire in wires:
        wire.send(impatient.head("GET", f"/v1/narrow/{name}", token="shop"))
    held = not eventually(lambda: impatient.call("GET", "/v1/narrow/other", token="rival").status == 200, 0.2)

    freed, until = False, time.monotonic() + 6
    cut = set()
    while not freed and time.monotonic() < until:
        for wire in set(wires) - cut:
            read_some(wire) or cut.add(wire)
        time.sleep(0.03)  # 2 MB a second at most: the wire's own limit is 32 KB a second
        freed = len(cut) == 2 and impatient.call("GET", "/v1/narrow/other", token="rival").status == 200
    for wire in wires:
        wire.close()

    assert held
    assert freed
    assert breaker(impatient, "narrow") == "closed"


def read_some(wire):
    try:
        return wire.sock.recv(65536)
    except (ConnectionResetError, BrokenAnswerError):
        return b""


def test_write_whose_client_has_gone_is_done_before_the_gateway_stops(impatient, upstream):
    asked = []

    def script(request):
        question = json.loads(request.read_body())
        params, result = question["params"], 2
        if params["service"] != "common":
            asked.append(params["args"][4])
            time.sleep(0.6)
            result = {"ids": [7], "messages": []} if asked[-1] == "load" else [{"id": 7, "name": "x"}]
        request.send(message(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}).encode()))

    with upstream.planned("/jsonrpc", script):
        assert impatient.call_json("POST", "/v1/misread", BODY, token="shop").status == 201
        whole = list(asked)
        asked.clear()
        with impatient.wire() as wire:
            wire.send(impatient.head("POST", "/v1/misread", JSON, token="shop", body=BODY))
            assert eventually(lambda: asked)
            wire.reset()
        time.sleep(0.1)
        os.kill(impatient.process.pid, signal.SIGTERM)
        impatient.process.wait(START_S)

    assert len(whole) > 1
    assert asked == whole
