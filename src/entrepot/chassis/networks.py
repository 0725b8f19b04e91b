"""Addresses and the networks that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Networks = Sequence[IPv4Network | IPv6Network]
_MAPPED_BITS = 96


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return *text* as an address, an IPv4 one that came over IPv6 as what it is; None when it is no address.

    A scope id (``fe80::1%eth0``) makes it none: it is free text, and means nothing on another host.
    """
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def read_network(text: str) -> IPv4Network | IPv6Network:
    """Return *text* as a network, IPv4 ones as ``address_of`` has their addresses, however written. Raises ValueError.

    ``::ffff:10.0.0.0/104`` is ``10.0.0.0/8``: no address would lie in it as it stands.
    """
    network = ip_network(text)
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None:
        # Its last bit before those of IPv4 is set, so the prefix holds them all.
        return IPv4Network((int(first.ipv4_mapped), network.prefixlen - _MAPPED_BITS))
    return network


def lies_in(networks: Networks, source: str) -> bool:
    """Tell whether *source* is an address in one of *networks*."""
    address = address_of(source)
    return address is not None and any(address in network for network in networks)
