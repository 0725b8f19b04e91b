"""Links to servers that a script plays at, swept as a worker sweeps them."""

import asyncio
import contextlib

from entrepot.connectors.base import BreakerPolicy, Upstream
from entrepot.connectors.link import Link
from entrepot.wire.clock import Clock

OPEN_S = 0.2


async def serve(shared, test, script, options):
    """Run ``test(link)`` with a link to a server that *script* plays at; *options* are those of its upstream."""
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    clock = Clock()
    given = {
        "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "timeout_s": 5.0, "concurrency": 1,
        "wait_s": 0.1, "breaker": BreakerPolicy(1, OPEN_S), **options,
    }  # fmt: skip
    link = Link(Upstream("up", "http", **given), shared, clock, asyncio.get_running_loop(), lambda: None)
    sweeping = asyncio.create_task(sweep(link, clock))
    async with server:
        await asyncio.wait_for(test(link), 20)
        sweeping.cancel()
        link.close()
        await asyncio.sleep(0.03)  # the server's side ends after ours
    assert link.places.in_use() == link.places.queued() == 0


async def sweep(link, clock):
    while True:
        clock.tick()
        link.sweep(clock.now)
        await asyncio.sleep(0.01)


def answer(data):
    async def script(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)

    return script


async def silent(reader, writer):
    with contextlib.closing(writer), contextlib.suppress(ConnectionError):
        await reader.read()
