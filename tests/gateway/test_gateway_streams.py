"""Bodies that are large or endless pass in little memory, both ways, at the pace of the slower side."""

import threading
import time

import pytest
from rawclient import BrokenAnswerError
from upstream import message, streams

from timing import least_s

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


def test_answer_of_100_mb_passes_in_little_memory(gateway, upstream, name):
    size = 100_000_000
    upstream.plan(f"/lasting/{name}", streams(OK + b"content-length: %d\r\n\r\n" % size, b"x" * 1_000_000, times=100))
    before, peak, done = gateway.memory_bytes(), [], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak.append(gateway.memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    answer = gateway.call("GET", f"/v1/lasting/{name}", token="shop")
    done.set()
    watcher.join()

    assert len(answer.body) == size
    assert max(peak) - before < 30_000_000


def test_endless_answer_ends_when_the_client_goes(gateway, upstream, name):
    gone = threading.Event()
    endless = streams(CHUNKED, b"x" * 10_000, framed=True)

    def script(request):
        try:
            return endless(request)
        finally:
            gone.set()

    upstream.plan(f"/lasting/{name}", script)
    with gateway.wire() as wire:
        wire.send(gateway.head("GET", f"/v1/lasting/{name}", token="shop"))
        got = 0
        while got < 1_000_000:
            got += len(wire.sock.recv(65536))

    assert gone.wait(10), "the upstream still sends"


def test_endless_answer_ends_at_the_timeout(gateway, upstream, name):
    endless = streams(CHUNKED, b"x" * 10, framed=True)
    upstream.plan(f"/hasty/{name}", endless)

    def took_s():
        begun = time.monotonic()
        with gateway.wire() as wire:
            wire.send(gateway.head("GET", f"/v1/hasty/{name}", token="shop"))
            with pytest.raises((BrokenAnswerError, ConnectionResetError)):
                wire.answer()
        return time.monotonic() - begun

    assert least_s(took_s, 2.5) < 2.5


def test_endless_answer_is_not_cached(gateway, upstream, name):
    upstream.plan(f"/kept/{name}", streams(CHUNKED, b"x" * 100_000, framed=True))
    before = gateway.memory_bytes()

    with gateway.wire(timeout_s=5) as wire:
        wire.send(gateway.head("GET", f"/v1/kept/{name}", token="shop"))
        wire.readable(1.5)

    assert gateway.memory_bytes() - before < 60_000_000
    assert gateway.call("GET", "/v1/echo/after", token="shop").status == 200


def test_body_is_streamed_to_the_upstream_as_it_comes(gateway, upstream, name):
    begun = threading.Event()

    def script(request):
        while b"first" not in request.rest:
            request._more()
        begun.set()
        body = request.read_body()
        request.send(message(body))

    upstream.plan(f"/lasting/{name}", script)
    head = gateway.head("POST", f"/v1/lasting/{name}", "Transfer-Encoding: chunked", token="shop")
    with gateway.wire() as wire:
        wire.send(head + b"5\r\nfirst\r\n")
        assert begun.wait(10), "the upstream sees nothing before the body is whole"
        wire.send(b"6\r\nsecond\r\n0\r\n\r\n")

        assert wire.answer().body == b"firstsecond"


def test_answer_is_streamed_to_the_client_as_it_comes(gateway, upstream, name):
    gate = threading.Event()

    def script(request):
        request.send(CHUNKED + b"5\r\nfirst\r\n")
        gate.wait(10)
        request.send(b"6\r\nsecond\r\n0\r\n\r\n")

    upstream.plan(f"/lasting/{name}", script)
    with gateway.wire() as wire:
        wire.send(gateway.head("GET", f"/v1/lasting/{name}", token="shop"))
        got = b""
        while b"first" not in got:
            got += wire.sock.recv(4096)
        gate.set()
        wire._data = got

        assert wire.answer().body == b"firstsecond"


def test_upload_of_20_mb_passes_in_little_memory(gateway, upstream, name):
    size = 20_000_000
    before = gateway.memory_bytes()
    upstream.plan(f"/lasting/{name}", lambda request: request.send(message(str(len(request.read_body())).encode())))

    answer = gateway.call("POST", f"/v1/lasting/{name}", token="shop", body=b"x" * size)

    assert answer.body == str(size).encode()
    assert gateway.memory_bytes() - before < 15_000_000


def test_upload_waits_for_an_upstream_that_does_not_read(gateway, upstream, name):
    gate = threading.Event()

    def script(request):
        gate.wait(10)
        request.send(message(str(len(request.read_body())).encode()))

    upstream.plan(f"/lasting/{name}", script)
    head = gateway.head("POST", f"/v1/lasting/{name}", "Content-Length: 60000000", token="shop")
    before = gateway.memory_bytes()
    with gateway.wire() as wire:
        wire.sock.settimeout(0.3)
        wire.send(head)
        sent = 0
        piece = b"x" * 100_000
        try:
            while sent < 60_000_000:
                sent += wire.sock.send(piece[: 60_000_000 - sent])
        except TimeoutError:
            pass
        grown = gateway.memory_bytes() - before
        gate.set()
        wire.sock.settimeout(10)
        while sent < 60_000_000:
            sent += wire.sock.send(piece[: 60_000_000 - sent])

        assert wire.answer().body == b"60000000"
    assert grown < 20_000_000
