"""The services of a process that goes on while the database is away, and finds it again when it is back."""

from __future__ import annotations

import threading
import time

from entrepot.services import Services
from entrepot.settings import Settings

AGAIN_S = 1.0


class StandingServices:
    """The services of the store in *settings*; all threads of a process share one. *services* are a test's own.

    Only one thread at a time looks for the database, which may take seconds; the others go on without it.
    """

    def __init__(self, settings: Settings, services: Services | None = None) -> None:
        self._settings = settings
        self._services = services or Services.from_settings(settings)
        self._door = threading.Lock()
        self._looked_at = time.monotonic()

    @property
    def present(self) -> Services:
        """The services; a database that was away is looked for again, a second after the last time."""
        if self._is_due() and self._door.acquire(blocking=False):
            try:
                # Another thread may have come back from there meanwhile.
                if self._is_due():
                    self._look()
            finally:
                self._door.release()
        return self._services

    def close(self) -> None:
        """Let go of the services; nobody may ask for them afterwards."""
        with self._door:
            self._services.close()

    def _is_due(self) -> bool:
        return self._services.opened is None and time.monotonic() - self._looked_at >= AGAIN_S

    def _look(self) -> None:
        try:
            # First the database alone: services hold files and maps, which are not to be opened once a second.
            if not Services.finds_database(self._settings):
                return
            found = Services.from_settings(self._settings)
        finally:
            # Noted afterwards: else, when it takes a while, some thread would always be looking.
            self._looked_at = time.monotonic()
        # Those of before are kept by whoever uses them still, and so are never closed.
        if found.opened is None:
            found.close()
        else:
            self._services = found
