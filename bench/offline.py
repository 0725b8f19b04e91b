"""Microseconds of our own Python per relayed exchange: the whole data plane on fake transports, without a socket.

Repeatable within a few tenths of a microsecond where figures over sockets are not, so this is what is watched. All
stages are on: EdDSA tokens (200, remembered), client rate, access log, metrics, operation id, forwarded fields.

    python bench/offline.py [--max 18] [--profile]

``--max`` makes it fail when the best of a hundred short rounds is above that many microseconds of processor time. Where
the yardstick of the same run takes longer than on the machine of ``figures.txt``, an exchange may, too, by the same
factor.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from entrepot.catalog.definitions import Catalog, Endpoint
from entrepot.chassis.limits import Rate
from entrepot.chassis.lines import LineWriter
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import RelayMapping, Upstream
from entrepot.gateway.accesslog import AccessLog
from entrepot.gateway.exchange import Exchange
from entrepot.gateway.gateway import Gateway
from entrepot.identity.keys import Keyring
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client, Partner
from entrepot.identity.tokens import issue
from entrepot.settings import load_settings
from entrepot.wire.client import ClientConnection
from entrepot.wire.limits import Limits
from entrepot.wire.server import Server
from yardstick import REFERENCE_US, Yardstick

CLIENTS = 200
ROUNDS = 100
BODY = (
    b'{"id":1,"name":"Azure Interior","email":"azure@example.com","phone":"+1 555","city":"Fremont",'
    b'"orders":[1,2,3,4,5,6,7,8,9,10]}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
) % (len(BODY), BODY)
REQUEST = b"GET /v1/items/1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer %b\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """Keeps the last write; answers what a connection asks of a transport."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 40000) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


def catalog() -> Catalog:
    rate = Rate(100_000, 1_000)
    clients = {f"c{n}": Client(f"c{n}", "bench", frozenset({"read"}), rate) for n in range(CLIENTS)}
    relay = RelayMapping("/v1/items/{id}", ("GET",))
    return Catalog(
        1,
        {"up": Upstream("up", "http", "http://127.0.0.1:8110")},
        {"items": Endpoint("items", ("/v1/items/{id}",), "up", ("read",), relay=relay)},
        {"bench": Partner("bench", "Bench")},
        clients,
    )


def tokens(keyring: Keyring, clients: dict[str, Client]) -> list[bytes]:
    made = [
        issue(
            keyring, client=c, scopes=c.scopes, issuer="entrepot", audience="entrepot", expires_s=3600, now=time.time()
        )
        for c in clients.values()
    ]
    return [token.token.encode() for token in made]


def measure(directory: Path, profile: bool) -> tuple[float, float]:
    """Return the best of the rounds, in microseconds per exchange, and that of the yardstick."""
    ini = directory / "entrepot.ini"
    ini.write_text(f"[store]\ndirectory = {directory}\n")
    settings = load_settings(ini)
    loop = asyncio.new_event_loop()
    shared = SharedState.open(directory / "shared")
    shared.register()
    gateway = Gateway(settings, shared, loop, "bench")
    gateway.access = AccessLog(LineWriter(os.open(os.devnull, os.O_WRONLY)), settings.log)
    made = catalog()
    gateway.enforce(gateway.prepare(made))
    server = Server(loop, Limits(), partial(Exchange, gateway), gateway.clock)
    pool = gateway.links.links["up"].pool
    upstream, upstream_transport = ClientConnection(pool), FakeTransport()
    upstream.connection_made(upstream_transport)
    connection, transport = server.protocol(), FakeTransport()
    connection.connection_made(transport)
    keyring = Keyring.open(directory / "keys", MasterKey("auto", directory))
    requests = [REQUEST % token for token in tokens(keyring, dict(made.clients))]

    def exchange_all() -> None:
        for request in requests:
            connection.data_received(request)
            upstream.data_received(ANSWER)

    yardstick = Yardstick()
    exchange_all()
    if not transport.written.startswith(b"HTTP/1.1 200 OK") or not transport.written.endswith(BODY):
        raise SystemExit(f"the exchange went wrong: {transport.written!r}")
    if profile:
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(20):
            exchange_all()
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as the worker does
    best = best_yardstick = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(5):
            exchange_all()
        best = min(best, (time.process_time() - started) / (5 * CLIENTS) * 1e6)
        best_yardstick = min(best_yardstick, yardstick.best_us(5))
    gateway.close()
    shared.close()
    loop.close()
    return best, best_yardstick


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max", type=float, default=float("inf"), metavar="US")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        best, best_yardstick = measure(Path(directory), arguments.profile)
    slower = max(1.0, best_yardstick / REFERENCE_US)
    print(f"{best:.1f} us per exchange, on a machine that is {slower:.2f} times as slow as that of the figures")
    return 0 if best <= arguments.max * slower else 1


if __name__ == "__main__":
    sys.exit(main())
