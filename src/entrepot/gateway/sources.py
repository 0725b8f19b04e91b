"""Who calls: the peer of the connection, or the caller that a trusted proxy names (RFC 7239 and X-Forwarded-For)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Networks = Sequence[IPv4Network | IPv6Network]


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return *text* as an address, an IPv4 one that came over IPv6 as what it is; None when it is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def lies_in(networks: Networks, source: str) -> bool:
    """Tell whether *source* is an address in one of *networks*."""
    address = address_of(source)
    return address is not None and any(address in network for network in networks)


class Sources:
    """Finds the caller's address; *trusted* are the networks of proxies whose word is believed."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted

    def trusts(self, exchange: Exchange) -> bool:
        """Tell whether the peer of the connection is a trusted proxy."""
        return bool(self._trusted) and lies_in(self._trusted, exchange.connection.peer)

    def source(self, exchange: Exchange) -> str:
        """Return the caller's address; behind trusted proxies the last address in the chain that is none of theirs."""
        peer = exchange.connection.peer
        if not self.trusts(exchange):
            return peer
        chain = exchange.fields.get(b"x-forwarded-for", b"").decode("ascii", "replace").split(",")
        for candidate in reversed(chain):
            address = candidate.strip()
            if address_of(address) is None:
                break
            if not lies_in(self._trusted, address):
                return address
        return peer

    def scheme(self, exchange: Exchange) -> bytes:
        """Return ``https`` when a trusted proxy says so, else ``http``: TLS ends before the gateway."""
        if exchange.fields.get(b"x-forwarded-proto") == b"https" and self.trusts(exchange):
            return b"https"
        return b"http"
