"""Names that are typed: what the catalog in force has by them."""

from __future__ import annotations

from entrepot.chassis.errors import Error
from entrepot.identity.partners import Client, Partner
from entrepot.services import Services


class UnknownNameError(Error):
    """The catalog in force has no client, or no partner, of this name."""

    code, title = "unknown-name", "The catalog in force has nothing of this name"


def client_named(services: Services, name: str) -> Client:
    """Return the client *name* of the catalog in force. Raises UnknownNameError, which says which ones there are."""
    clients = services.catalog().clients
    if name not in clients:
        known = ", ".join(sorted(clients)) or "none"
        raise UnknownNameError(f"the catalog in force has no client {name!r}; it has: {known}")
    return clients[name]


def partner_named(services: Services, name: str) -> Partner:
    """Return the partner *name* of the catalog in force. Raises UnknownNameError, which says which ones there are."""
    partners = services.catalog().partners
    if name not in partners:
        known = ", ".join(sorted(partners)) or "none"
        raise UnknownNameError(f"the catalog in force has no partner {name!r}; it has: {known}")
    return partners[name]
