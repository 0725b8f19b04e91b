"""How many failed signature checks a source may cause: each costs the loop 0.2 ms, and the caller nothing."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from entrepot.errors import TooManyRequests


class FailureBudget:
    """Counts failures of each second: *per_source* from one address, *total* from all of them together.

    An IPv6 source is its /64 network, which one host can fill. What is kept is bounded by *total* and by one second.
    """

    def __init__(self, per_source: int = 20, total: int = 1000) -> None:
        self._per_source = per_source
        self._total = total
        self._counts: dict[str, int] = {}
        self._second = 0
        self._failures = 0

    def check(self, source: str, now: float) -> None:
        """Return when another check may be made for *source* at *now* (seconds); raise TooManyRequests when not."""
        if int(now) != self._second:
            self._second = int(now)
            self._failures = 0
            self._counts.clear()
        if self._failures >= self._total or self._counts.get(_network(source), 0) >= self._per_source:
            raise TooManyRequests("too many tokens with a wrong signature", retry_after_s=1.0)

    def failed(self, source: str) -> None:
        """Count a failure of *source*, which was checked right before."""
        network = _network(source)
        self._failures += 1
        self._counts[network] = self._counts.get(network, 0) + 1


def _network(source: str) -> str:
    if ":" not in source:
        return source
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or int(address) >> 64)
    return source
