"""Who calls: the peer of the connection, or the caller that a trusted proxy names (RFC 7239 and X-Forwarded-For)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

_FOR = re.compile(rb'(?:^|[;,\s])for=("[^"]*"|[^;,\s]*)', re.IGNORECASE)
_PROTO = re.compile(rb'(?:^|[;,\s])proto="?([a-z]+)', re.IGNORECASE)
_HOST_PARAMETER = re.compile(rb'(?:^|[;,\s])host="?([^";,\s]+)', re.IGNORECASE)
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")

Networks = Sequence[IPv4Network | IPv6Network]


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


def lies_in(networks: Networks, source: str) -> bool:
    """Tell whether *source* is an address in one of *networks*."""
    address = address_of(source)
    return address is not None and any(address in network for network in networks)


class Sources:
    """Finds the caller's address; *trusted* are the networks of proxies whose word is believed.

    *forwarded* says whether they write ``Forwarded`` (RFC 7239) or, else, ``X-Forwarded-*``. What they do not write
    they pass on from the caller, so it is not looked at.
    """

    def __init__(self, trusted: Networks, *, forwarded: bool = False) -> None:
        self._trusted = trusted
        self._forwarded = forwarded

    def trusts(self, exchange: Exchange) -> bool:
        """Tell whether the peer of the connection is a trusted proxy."""
        return bool(self._trusted) and lies_in(self._trusted, exchange.connection.peer)

    def source(self, exchange: Exchange) -> str:
        """Return the caller's address; behind trusted proxies the last address in the chain that is none of theirs."""
        peer = exchange.connection.peer
        if not self._trusted or not self.trusts(exchange):
            return peer
        for node in reversed(self._chain(exchange.fields)):
            address = address_of(node)
            if address is None:
                break
            if not lies_in(self._trusted, node):
                return str(address)
        return peer

    def host_and_scheme(self, exchange: Exchange) -> tuple[bytes, bytes]:
        """Return the host that the caller asked for and ``http`` or ``https``, as a trusted proxy says."""
        if not self._trusted or not self.trusts(exchange):
            return exchange.fields.get(b"host", b""), b"http"
        return self._host(exchange), self._scheme(exchange)

    def _scheme(self, exchange: Exchange) -> bytes:
        if self._forwarded:
            said = (_PROTO.findall(exchange.fields.get(b"forwarded", b"")) or [b""])[-1]
        else:
            said = exchange.fields.get(b"x-forwarded-proto", b"")
        return b"https" if said.lower() == b"https" else b"http"

    def _host(self, exchange: Exchange) -> bytes:
        own = exchange.fields.get(b"host", b"")
        if self._forwarded:
            said = (_HOST_PARAMETER.findall(exchange.fields.get(b"forwarded", b"")) or [own])[-1]
        else:
            said = exchange.fields.get(b"x-forwarded-host", own)
        return said if _HOST.fullmatch(said) else own

    def _chain(self, fields: Mapping[bytes, bytes]) -> list[str]:
        """Return the addresses that the proxies name, the nearest last, without ports."""
        if self._forwarded:
            nodes = [node.strip(b'"') for node in _FOR.findall(fields.get(b"forwarded", b""))]
        else:
            nodes = [node.strip() for node in fields.get(b"x-forwarded-for", b"").split(b",")]
        return [_without_port(node.decode("ascii", "replace")) for node in nodes]


def _without_port(node: str) -> str:
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
