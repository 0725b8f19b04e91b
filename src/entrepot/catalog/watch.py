"""The catalog in force, as a process follows it: read from the snapshot when there is a new revision."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import collector_paused, mark_of, read_snapshot
from entrepot.chassis.errors import Error

log = logging.getLogger(__name__)

Prepared = TypeVar("Prepared")


class CatalogWatch(Generic[Prepared]):
    """Looks for new revisions in the snapshot *path*. Lives on the thread of *loop*.

    *prepare* makes a catalog ready, in a thread: one of thousands of endpoints takes a second. *enforce* then takes it
    into force. A catalog that cannot be read or made ready changes nothing.
    """

    def __init__(
        self,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        *,
        prepare: Callable[[Catalog], Prepared],
        enforce: Callable[[Prepared], object],
    ) -> None:
        self._path = path
        self._loop = loop
        self._prepare = prepare
        self._enforce = enforce
        self._seen: tuple[int, ...] | None = None
        self._loading: asyncio.Future[Prepared | None] | None = None

    def load(self) -> Prepared | None:
        """Return the present catalog made ready, None when there is none that can be used."""
        self._seen = mark_of(self._path)
        return self._prepared()

    def refresh(self) -> None:
        """Take a new revision into force as soon as it is made ready, if there is one."""
        seen = mark_of(self._path)
        if seen != self._seen and self._loading is None:
            self._seen = seen
            self._loading = self._loop.run_in_executor(None, self._prepared)
            self._loading.add_done_callback(self._loaded)

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
                return self._prepare(read_snapshot(self._path))
        except Error as error:
            log.error("the new catalog cannot be used, the one in force stays", extra={"reason": str(error)})
        except Exception:  # what one revision breaks must not end the process
            log.exception("the new catalog cannot be made ready, the one in force stays")
        return None
