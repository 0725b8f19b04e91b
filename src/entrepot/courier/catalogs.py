"""The catalog in force, as a courier follows it: read from the snapshot when there is a new revision."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import collector_paused, read_snapshot
from entrepot.chassis.errors import Error
from entrepot.chassis.shared import SharedState
from entrepot.connectors.links import Links, Reach

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalog and how its upstreams are reached; not in force yet."""

    catalog: Catalog
    reach: Reach


class CatalogWatch:
    """Looks for new revisions; *enforce* is called on the loop with each."""

    def __init__(
        self,
        path: Path,
        shared: SharedState,
        links: Links,
        loop: asyncio.AbstractEventLoop,
        enforce: Callable[[Prepared], None],
    ) -> None:
        self._path = path
        self._counter = shared.counter("revision")
        self._links = links
        self._loop = loop
        self._enforce = enforce
        self._seen: tuple[int, ...] = ()
        self._loading: asyncio.Future[Prepared | None] | None = None

    def load(self) -> None:
        """Take the present catalog into force, if there is one."""
        self._seen = self._present()
        prepared = self._prepared()
        if prepared is not None:
            self._enforce(prepared)

    def refresh(self) -> None:
        """Take a new revision into force as soon as it is made ready, in a thread."""
        seen = self._present()
        if seen != self._seen and self._loading is None:
            self._seen = seen
            self._loading = self._loop.run_in_executor(None, self._prepared)
            self._loading.add_done_callback(self._loaded)

    def _present(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return (self._counter.read(),)
        return self._counter.read(), status.st_ino, status.st_mtime_ns

    def _loaded(self, loading: asyncio.Future[Prepared | None]) -> None:
        self._loading = None
        prepared = None if loading.cancelled() else loading.result()
        if prepared is not None:
            self._enforce(prepared)

    def _prepared(self) -> Prepared | None:
        if not self._path.exists():
            return None
        try:
            with collector_paused():
                catalog = read_snapshot(self._path)
            return Prepared(catalog, self._links.prepare(catalog.upstreams))
        except Error as error:
            log.error("the new catalog cannot be used, the one in force stays", extra={"reason": str(error)})
        except Exception:  # what one revision breaks must not end the courier
            log.exception("the new catalog cannot be made ready, the one in force stays")
        return None
