"""Finds out when an upstream that was away is back, so that its work need not wait until it would be tried again.

Deliveries of an upstream that is down wait longer each time, and an open breaker lets none through. Meanwhile its port
is asked twice a second, and where there is a probe (Odoo's ``common.version``, a path), that. These go past the
breaker, and burn no attempt. An upstream that was never seen to be away is left to the retry policy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from entrepot.chassis.errors import Error
from entrepot.connectors.base import HttpReply
from entrepot.connectors.link import Fetch, Link
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.errors import UpstreamBusy, UpstreamUnavailable

log = logging.getLogger(__name__)

EVERY_S = 0.5
TIMEOUT_S = 2.0


class Sounder:
    """Sounds one upstream while it is in trouble. *on_back* is called when it is back after it was seen to be away."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_back: Callable[[], None]) -> None:
        self._loop = loop
        self._on_back = on_back
        self._in_trouble = False
        self._was_away = False
        self._next_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def in_trouble(self) -> bool:
        """Whether the upstream is being sounded."""
        return self._in_trouble

    def alarm(self, not_before: float) -> None:
        """Begin to sound, not before *not_before* (``time.monotonic``): a delivery has failed."""
        if not self._in_trouble:
            self._in_trouble = True
            self._was_away = False
            self._next_at = monotonic()
        self._next_at = max(self._next_at, not_before)

    def all_well(self) -> None:
        """Stop: a delivery went through."""
        if not self._in_trouble:
            return
        self._in_trouble = False
        if self._was_away:
            self._was_away = False
            self._on_back()

    def sweep(self, link: Link, now: float) -> None:
        """Sound the upstream if it is time."""
        if self._in_trouble and self._task is None and now >= self._next_at:
            self._next_at = now + EVERY_S
            self._task = self._loop.create_task(self._sound(link))

    async def close(self) -> None:
        """Stop sounding."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _sound(self, link: Link) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await _ask(link)
        except UpstreamBusy:
            pass  # It answers others.
        except (OSError, Error):
            self._was_away = True
        except Exception:
            log.exception("an upstream could not be sounded", extra={"upstream": link.upstream.name})
        else:
            # Whoever saw it away may let deliveries through before the breaker would; another fault is not our matter.
            if self._was_away:
                link.breaker.succeeded()
            self.all_well()
        finally:
            self._task = None


async def _ask(link: Link) -> None:
    """Return when the upstream of *link* is well, as far as can be asked; raise OSError or Error when it is not."""
    upstream, deadline = link.upstream, monotonic() + TIMEOUT_S
    _, writer = await asyncio.open_connection(link.pool.host, link.pool.port)
    writer.close()
    past = PastBreaker(link)
    if upstream.kind == "odoo":
        await OdooConnector(upstream, past).probe(deadline=deadline)
    elif upstream.probe is not None:
        target = (link.base_path + (upstream.probe.path or "/")).encode("ascii")
        reply = await past.fetch(b"GET %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (target, link.host), b"", deadline)
        if reply.status >= 500:
            raise UpstreamUnavailable(f"{upstream.name} answers its probe with {reply.status}")


class PastBreaker:
    """Sends to the upstream of *link* by a place like any other, and whatever its breaker says; a ``Post``."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def __call__(
        self,
        path: str,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        deadline: float,
        is_void: Callable[[], bool] | None = None,  # noqa: ARG002 - a probe is never void
    ) -> HttpReply:
        """Send one POST and return the answer."""
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        target = (self._link.base_path + path).encode("ascii")
        head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\n%b\r\n"
        return await self.fetch(head % (target, self._link.host, len(body), lines), body, deadline)

    async def fetch(self, head: bytes, body: bytes, deadline: float) -> HttpReply:
        """Send the request of *head* and *body* and return the answer."""
        link = self._link
        if link.fault is not None:
            raise link.fault
        fetch = Fetch(link, head, body, deadline)
        if link.places.enter(fetch, monotonic()):
            fetch.on_place()
        else:
            link.on_wait()
        try:
            return await fetch.reply
        except asyncio.CancelledError:
            fetch.stop_waiting()
            raise
