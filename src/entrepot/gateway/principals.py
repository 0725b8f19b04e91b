"""The clients of a catalog as those who call: made when they first do, for there may be a hundred thousand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from entrepot.catalog.definitions import Catalog
from entrepot.chassis.limits import Limiter
from entrepot.chassis.mutex import SharedStateError
from entrepot.errors import InvalidToken
from entrepot.gateway.operations import Principal

log = logging.getLogger(__name__)

T = TypeVar("T")


class Principals(dict[str, Principal]):
    """The principals of *catalog* by the name of their client. Raises InvalidToken for a name that it does not have.

    A limit that the shared state has no room for is not enforced: *unenforced* counts those, and the log tells of each.
    """

    def __init__(self, catalog: Catalog, limiter: Limiter) -> None:
        super().__init__()
        self.unenforced = 0
        self._catalog = catalog
        self._limiter = limiter

    def __missing__(self, name: str) -> Principal:
        client = self._catalog.clients.get(name)
        if client is None:
            raise InvalidToken("the client is not known")
        partner = self._catalog.partners[client.partner]
        values: dict[str, Any] = {f"partner.{key}": value for key, value in partner.values.items()}
        values["client"] = name
        rate, quota = self._catalog.rate_of(client), self._catalog.quota_of(client)
        own = f"client:{name}"
        made = self[name] = Principal(
            client, partner, values,
            bucket=self._enforced(name, lambda: self._limiter.bucket(own, rate, policy="burst")) if rate else None,
            day=self._enforced(name, lambda: self._limiter.day(own, quota.day)) if quota else None,
        )  # fmt: skip
        return made

    def _enforced(self, name: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except SharedStateError as error:
            self.unenforced += 1
            log.error("a limit is not enforced", extra={"client": name, "reason": str(error)})
            return None
