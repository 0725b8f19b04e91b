"""All that one console process serves with; its threads share it."""

from __future__ import annotations

from flask import current_app

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import mark_of
from entrepot.identity.operators import Operators, SignIns
from entrepot.identity.passwords import Passwords
from entrepot.identity.sessions import Sessions
from entrepot.services import Services
from entrepot.settings import Settings
from entrepot.standing_services import StandingServices


class Console:
    """What one process serves with: the services of the store in *settings*, unless a test hands in its own."""

    def __init__(
        self, settings: Settings, services: Services | None = None, passwords: Passwords | None = None
    ) -> None:
        self.settings = settings
        self._standing = StandingServices(settings, services)
        self._passwords = passwords or Passwords()
        self._sign_ins = SignIns(self._standing.present.shared)
        self._catalog: tuple[object, Catalog] = (None, Catalog())

    @property
    def services(self) -> Services:
        """The services; a database that was away is looked for again."""
        return self._standing.present

    def close(self) -> None:
        """Let go of the services, at the end of the process."""
        self._standing.close()

    @property
    def operators(self) -> Operators:
        """The accounts. Raises StoreUnavailable when the database is away."""
        return Operators(self.services.database, self._passwords, self._sign_ins)

    @property
    def sessions(self) -> Sessions:
        """The sessions. Raises StoreUnavailable when the database is away."""
        console = self.settings.console
        return Sessions(self.services.database, idle_s=console.idle_timeout_s, longest_s=console.session_s)

    @property
    def catalog(self) -> Catalog:
        """The catalog in force, read anew when its file is another one. Raises NotReady when that is damaged."""
        services = self.services
        mark = mark_of(services.snapshot_path)
        known, catalog = self._catalog
        if mark != known:
            catalog = services.catalog()
            self._catalog = mark, catalog
        return catalog


def console() -> Console:
    """Return the console of the application that serves the present request."""
    found: Console = current_app.extensions["entrepot"]
    return found
