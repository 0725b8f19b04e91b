"""What the connector asks of a protocol to Odoo, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from entrepot.connectors.base import Json


class OdooError(Exception):
    """An exception inside Odoo as its protocol tells it: the Python class *name* and the *message*.

    Never shown to a partner: ``faults`` decides what is. It stays the ``__cause__`` of the error that is, for the log.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class OdooWire(Protocol):
    """One way to talk to one Odoo database as the gateway's own account.

    Every method raises UpstreamUnavailable, UpstreamTimeout, UpstreamBusy, UpstreamBadAnswer or UpstreamMisconfigured
    for what is wrong with the transport or the login. *deadline* is a ``time.monotonic`` moment.
    """

    async def execute(
        self,
        model: str,
        method: str,
        args: Sequence[Json],
        kwargs: Mapping[str, Json],
        *,
        deadline: float,
        operation_id: str = "",
    ) -> Json:
        """Call *method* of *model*; *kwargs* hold the ``context``. Raises OdooError for an exception inside Odoo."""

    async def login(self, *, deadline: float) -> int:
        """Log in anew and return the account's user id."""

    async def version(self, *, deadline: float) -> Mapping[str, Json]:
        """Return what Odoo says about itself; needs no login."""
