"""Who calls: the peer of the connection, or the caller that a trusted proxy names (RFC 7239 and X-Forwarded-For)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from entrepot.chassis.networks import Networks, address_of, lies_in

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

# Read from the right: what the trusted proxy wrote stands last, and what a caller wrote before it, such as a quote
# without an end, must not reach into it. The text is turned around for that.
_PAIR = re.compile(rb"""(?:"([^"\\]*)"|([^\s";,=]*))=([\w!#$%&'*+.^`|~-]+)[ \t]*([;,][ \t;,]*|$)""")
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")


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
        """Return the caller's address; behind trusted proxies the last address in the chain that is none of theirs.

        It is empty, and lies in no network, when that cannot be read: a proxy may write ``for=unknown``. When all are
        theirs, the first of them asks for itself.
        """
        source = exchange.connection.peer
        if not self._trusted or not self.trusts(exchange):
            return source
        for node in self._nodes(exchange.fields):
            address = address_of(node)
            if address is None:
                return ""
            source = str(address)
            if not lies_in(self._trusted, source):
                break
        return source

    def host_and_scheme(self, exchange: Exchange) -> tuple[bytes, bytes]:
        """Return the host that the caller asked for and ``http`` or ``https``, as a trusted proxy says."""
        if not self._trusted or not self.trusts(exchange):
            return exchange.fields.get(b"host", b""), b"http"
        return self._host(exchange), self._scheme(exchange)

    def _scheme(self, exchange: Exchange) -> bytes:
        if self._forwarded:
            said = self._said(exchange.fields, b"proto")
        else:
            said = exchange.fields.get(b"x-forwarded-proto", b"")
        return b"https" if said.lower() == b"https" else b"http"

    def _host(self, exchange: Exchange) -> bytes:
        own = exchange.fields.get(b"host", b"")
        if self._forwarded:
            said = self._said(exchange.fields, b"host") or own
        else:
            said = exchange.fields.get(b"x-forwarded-host", own)
        return said if _HOST.fullmatch(said) else own

    def _said(self, fields: Mapping[bytes, bytes], name: bytes) -> bytes:
        """Return what the nearest proxy says that says it in ``Forwarded``; what the caller wrote is not looked at."""
        for element in _elements(fields):
            if name in element:
                return element[name]
            if not lies_in(self._trusted, _node(element)):
                break
        return b""

    def _nodes(self, fields: Mapping[bytes, bytes]) -> Iterator[str]:
        """Give the addresses that the proxies name, the nearest first, without ports."""
        if self._forwarded:
            return map(_node, _elements(fields))
        chain = fields.get(b"x-forwarded-for", b"")
        return map(_without_port, reversed(chain.split(b","))) if chain else iter(())


def _elements(fields: Mapping[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    """Give the elements of ``Forwarded``, the nearest first; an empty one, and no more, where it cannot be read."""
    text, at = fields.get(b"forwarded", b"").strip(b" \t;,")[::-1], 0
    element: dict[bytes, bytes] = {}
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            yield {}
            return
        quoted, plain, name, separator = match.groups()
        name = name[::-1].lower()
        # Of two with one name nobody knows which is meant.
        element[name] = b"" if name in element else (plain if quoted is None else quoted)[::-1]
        if not separator or b"," in separator:
            yield element
            element = {}
        at = match.end()


def _node(element: Mapping[bytes, bytes]) -> str:
    return _without_port(element.get(b"for", b""))


def _without_port(written: bytes) -> str:
    node = written.strip().decode("ascii", "replace")
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
