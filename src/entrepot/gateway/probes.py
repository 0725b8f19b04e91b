"""Probes: is the upstream well? One process of the host asks at a time.

Odoo is asked for ``common.version``, an HTTP upstream for the path that its ``probe`` names. A probe goes the way of
every call, so an upstream that is down opens the breaker before a partner meets it, and one that is back closes it.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic

from entrepot.chassis.errors import Error
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import Probe, RecordConnector
from entrepot.connectors.link import Link
from entrepot.connectors.links import Links
from entrepot.errors import UpstreamBusy

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
_UP, _IS_UP, _IS_DOWN = 1, 1.0, -1.0


class Prober:
    """Probes the upstreams of the catalog in force, each as often as it says, whatever number of workers there is."""

    def __init__(self, shared: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        self._shared = shared
        self._loop = loop
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def sweep(self, links: Links, now: float) -> None:
        """Begin the probes that are due at *now* (``time.monotonic``)."""
        for name, link in links.links.items():
            probe = link.upstream.probe
            if probe is not None and name not in self._tasks and self._claim(name, probe, now):
                task = self._loop.create_task(self._ask(link, links.connectors.get(name), probe))
                self._tasks[name] = task
                task.add_done_callback(partial(self._forget, name))

    def is_up(self, name: str) -> bool:
        """Return whether the upstream *name* answered its last probe, whichever process made it."""
        return self._shared.cells[self._shared.slot(f"probe:{name}") + _UP] == 1.0

    def _forget(self, name: str, _task: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)

    def _claim(self, name: str, probe: Probe, now: float) -> bool:
        slot = self._shared.slot(f"probe:{name}")
        with self._shared.lock:
            if now < self._shared.cells[slot]:
                return False
            self._shared.cells[slot] = now + probe.every_s
            return True

    async def _ask(self, link: Link, connector: RecordConnector | None, probe: Probe) -> None:
        deadline = monotonic() + min(TIMEOUT_S, link.upstream.timeout_s)
        try:
            if connector is not None:
                await connector.probe(deadline=deadline)
            else:
                await link.probe(probe.path or "/", deadline=deadline)
        except UpstreamBusy:
            return  # It answers others: whether it is well, they know.
        except Error as error:
            if self._turned(link.upstream.name, _IS_DOWN):
                log.warning("upstream is not well", extra={"upstream": link.upstream.name, "reason": str(error)})
            return
        if self._turned(link.upstream.name, _IS_UP):
            log.info("upstream is well", extra={"upstream": link.upstream.name})

    def _turned(self, name: str, state: float) -> bool:
        cell = self._shared.slot(f"probe:{name}") + _UP
        turned = self._shared.cells[cell] != state
        self._shared.cells[cell] = state
        return turned
