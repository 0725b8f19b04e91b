"""The catalog in force, as a process follows it: read from the snapshot when there is a new revision."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import collector_paused, mark_of, read_snapshot
from entrepot.chassis.errors import Error

log = logging.getLogger(__name__)

Prepared = TypeVar("Prepared")

FIRST_WAIT_S = 1.0
MAX_WAIT_S = 60.0


class CatalogWatch(Generic[Prepared]):
    """Looks for new revisions in the snapshot *path*. Lives on the thread of *loop*.

    *prepare* makes a catalog ready, in a thread: one of thousands of endpoints takes a second. *enforce* then takes it
    into force. A catalog that cannot be read or made ready changes nothing. What it wants may be missing for a moment
    only, so it is tried again after 1 s, and after twice as long each further time, up to a minute.
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
        self._seen: tuple[int, int, int] | None = None
        self._due_at = math.inf
        self._wait_s = FIRST_WAIT_S
        self._reason = ""
        self._loading: asyncio.Future[Prepared | None] | None = None

    def load(self) -> Prepared | None:
        """Return the present catalog made ready, None when there is none that can be used now."""
        if not self._look():
            return None
        prepared = self._prepared()
        self._note(prepared)
        return prepared

    def refresh(self) -> None:
        """Take a new revision into force as soon as it is made ready, if there is one."""
        if self._loading is None and self._look() and self._loop.time() >= self._due_at:
            self._loading = self._loop.run_in_executor(None, self._prepared)
            self._loading.add_done_callback(self._loaded)

    def _look(self) -> bool:
        """Return whether there is a snapshot; one that is new is due at once."""
        seen = mark_of(self._path)
        if seen is not None and seen != self._seen:
            self._seen = seen
            self._due_at, self._wait_s, self._reason = -math.inf, FIRST_WAIT_S, ""
        return seen is not None

    def _loaded(self, loading: asyncio.Future[Prepared | None]) -> None:
        self._loading = None
        prepared = None if loading.cancelled() else loading.result()
        self._note(prepared)
        if prepared is not None:
            self._enforce(prepared)

    def _note(self, prepared: Prepared | None) -> None:
        """Note when the file is to be read again: never, once it was made ready."""
        if prepared is not None:
            self._due_at = math.inf
        else:
            self._due_at = self._loop.time() + self._wait_s
            self._wait_s = min(2 * self._wait_s, MAX_WAIT_S)

    def _prepared(self) -> Prepared | None:
        try:
            with collector_paused():
                return self._prepare(read_snapshot(self._path))
        except Error as error:
            if self._is_news(str(error)):
                log.error("the new catalog cannot be used, the one in force stays", extra={"reason": str(error)})
        except Exception as error:  # what one revision breaks must not end the process
            if self._is_news(repr(error)):
                log.exception("the new catalog cannot be made ready, the one in force stays")
        return None

    def _is_news(self, reason: str) -> bool:
        """Tell whether the attempt before this one did not fail for the same *reason*."""
        former, self._reason = self._reason, reason
        return reason != former
