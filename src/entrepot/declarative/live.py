"""Ask live upstreams for field types: an event loop for as long as there is something to ask."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from entrepot.catalog.model_types import FieldTypes
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import Upstream
from entrepot.connectors.link import Link
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.wire.clock import Clock

TICK_S = 0.01


class LiveTypes:
    """Call it with upstream and model for ``fields_get``. A context manager.

    *directory* is the store's: what is asked counts against the upstream's ``concurrency`` on this host.
    """

    def __init__(self, directory: Path) -> None:
        self._shared = SharedState.open(directory / "shared")
        self._runner = asyncio.Runner()
        self._clock = Clock()
        self._connectors: dict[str, tuple[Link, OdooConnector]] = {}

    def __enter__(self) -> Self:
        self._shared.register()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link, _ in self._connectors.values():
            link.close()
        self._runner.close()
        self._shared.close()

    def __call__(self, upstream: Upstream, model: str) -> FieldTypes:
        """Return the fields of *model*. Raises UpstreamError."""
        return self._runner.run(self._ask(upstream, model))

    async def _ask(self, upstream: Upstream, model: str) -> FieldTypes:
        link, connector = self._connector(upstream)
        ticking = asyncio.create_task(self._tick(link))
        try:
            return await connector.field_types(model, deadline=self._clock.now + upstream.timeout_s)
        finally:
            ticking.cancel()

    def _connector(self, upstream: Upstream) -> tuple[Link, OdooConnector]:
        self._clock.tick()
        if upstream.name not in self._connectors:
            link = Link(upstream, self._shared, self._clock, asyncio.get_running_loop(), lambda: None)
            self._connectors[upstream.name] = (link, OdooConnector(upstream, link.post))
        return self._connectors[upstream.name]

    async def _tick(self, link: Link) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._clock.tick()
            link.sweep(self._clock.now)
