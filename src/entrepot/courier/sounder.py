"""Finds out when an upstream that was away is back, so that its work need not wait until it would be tried again.

Deliveries of an upstream that is down wait longer each time, and an open breaker lets none through. Meanwhile its port
is asked twice a second, and where there is a probe (Odoo's ``common.version``, a path), that. These go past the
breaker, and burn no attempt. An upstream that was never seen to be away is left to the retry policy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic

from entrepot.chassis.errors import Error
from entrepot.connectors.link import Link
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.errors import UpstreamBusy

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
            log.debug("an upstream is not sounded, its places are taken", extra={"upstream": link.upstream.name})
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
    if upstream.kind == "odoo":
        await OdooConnector(upstream, partial(link.post, past_breaker=True)).probe(deadline=deadline)
    elif upstream.probe is not None:
        await link.probe(upstream.probe.path or "/", deadline=deadline, past_breaker=True)
