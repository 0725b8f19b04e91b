"""What the wire costs in Python: server and client protocols driven with fake transports, no sockets, no kernel.

    .venv/bin/python bench/wire_offline.py [--profile CASE]

Prints microseconds of processor time per exchange, best of several runs: other work on the machine only ever adds.
"""

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable

from entrepot.wire.call import Answer, Failure
from entrepot.wire.client import ClientConnection
from entrepot.wire.clock import Clock
from entrepot.wire.limits import Limits
from entrepot.wire.pool import Pool
from entrepot.wire.server import Request, Server

REQUEST = b"GET /v1/items/1 HTTP/1.1\r\nHost: gateway.example.com\r\nAuthorization: Bearer " + b"x" * 400 + b"\r\n\r\n"
SIX_MORE = REQUEST[:-2] + (
    b"User-Agent: partner/1.0\r\nAccept: application/json\r\nAccept-Encoding: identity\r\n"
    b"X-Trace: 4bf92f3577b34da6a3ce929d0e0e4736\r\nCache-Control: no-cache\r\nAccept-Language: de\r\n\r\n"
)
POST = (
    b"POST /v1/items HTTP/1.1\r\nHost: gateway.example.com\r\nAuthorization: Bearer "
    + b"x" * 400
    + b"\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n"
    + b"b" * 200
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 130\r\nConnection: keep-alive\r\n\r\n" + b"a" * 130
)
HEAD_OUT = b"GET /items/1 HTTP/1.1\r\nHost: upstream\r\nX-Request-Id: 0af7651916cd43dd8448eb211c80319c\r\n\r\n"


class FakeTransport:
    """Takes what is written and keeps the last."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data

    def get_extra_info(self, _name: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False


class Answered(Request):
    """Answers at once."""

    __slots__ = ()

    def on_start(self) -> None:
        self.send(200, b"Content-Type: application/json\r\n", b"a" * 130)


class Relayed(Request):
    """Sends every request on and the answer back, with the fields that a gateway must look at."""

    __slots__ = ("data", "deadline", "upstream")

    head_only = False
    retry = True
    streaming = max_body_bytes = None
    pool: Pool
    upstream: ClientConnection | None

    def on_start(self) -> None:
        self.data = HEAD_OUT + self.body
        self.deadline = 1e12
        self.pool.send(self)

    def on_answer(self, answer: Answer, body: bytes, *_framing: object) -> None:
        lines = [b"%b: %b\r\n" % pair for pair in answer.fields if pair[0] not in DROPPED]
        self.send(answer.status, b"".join(lines), body)

    def on_failure(self, failure: Failure) -> None:
        raise AssertionError(failure)


DROPPED = frozenset({b"connection", b"keep-alive", b"transfer-encoding"})


def relay(request: bytes) -> Callable[[], None]:
    clock = Clock()
    pool = Relayed.pool = Pool(None, host="upstream", clock=clock)
    upstream, peer = ClientConnection(pool), FakeTransport()
    upstream.connection_made(FakeTransport())
    connection = Server(None, Limits(), Relayed, clock).protocol()
    connection.connection_made(peer)
    take, answer = connection.data_received, upstream.data_received

    def once() -> None:
        take(request)
        answer(ANSWER)

    once()
    assert peer.written.endswith(b"a" * 130), peer.written
    return once


def server_only(request: bytes) -> Callable[[], None]:
    connection = Server(None, Limits(), Answered, Clock()).protocol()
    connection.connection_made(FakeTransport())
    return lambda: connection.data_received(request)


CASES: dict[str, Callable[[], Callable[[], None]]] = {
    "relay GET, 2 fields": lambda: relay(REQUEST),
    "relay GET, 8 fields": lambda: relay(SIX_MORE),
    "relay POST, 200 bytes": lambda: relay(POST),
    "server alone, 2 fields": lambda: server_only(REQUEST),
    "server alone, 8 fields": lambda: server_only(SIX_MORE),
    "server alone, POST": lambda: server_only(POST),
}


def measure(once: Callable[[], None], loops: int = 20_000, runs: int = 9) -> float:
    """Return microseconds per call, best of *runs*."""
    best = 1e9
    for _ in range(runs):
        begin = time.process_time()
        for _ in range(loops):
            once()
        best = min(best, time.process_time() - begin)
    return best / loops * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", metavar="CASE", choices=sorted(CASES))
    parser.add_argument("--loops", type=int, default=20_000)
    arguments = parser.parse_args()
    if arguments.profile:
        once, profile = CASES[arguments.profile](), cProfile.Profile()
        profile.runcall(lambda: [once() for _ in range(arguments.loops)])
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    for name, make in CASES.items():
        print(f"{name:24} {measure(make(), arguments.loops):6.2f} us")


if __name__ == "__main__":
    main()
