"""How many failed signature checks a source may cause: each costs the loop 0.2 ms, and the caller nothing."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from entrepot.errors import TooManyRequests


class FailureBudget:
    """Counts failures of each second: *per_source* from one address, *total* from all of them together.

    When *total* is used up, *spare* more may come from sources that have failed neither in this second nor in the one
    before, so that others' failures lock nobody out. An IPv6 source is its /64 network, which one host can fill. What
    is kept is bounded by *total* and *spare*, and by two seconds.
    """

    def __init__(self, per_source: int = 20, total: int = 1000, spare: int = 250) -> None:
        self._per_source = per_source
        self._total = total
        self._spare = spare
        self._counts: dict[str, int] = {}
        self._former: dict[str, int] = {}
        self._second = 0
        self._failures = 0

    def check(self, source: str, now: float) -> None:
        """Return when another check may be made for *source* at *now* (seconds); raise TooManyRequests when not."""
        second = int(now)
        if second != self._second:
            self._former = self._counts if second == self._second + 1 else {}
            self._second, self._failures, self._counts = second, 0, {}
        if not self._failures:
            return
        network = _network(source)
        if self._counts.get(network, 0) >= self._per_source or (
            self._failures >= self._total and not self._may_use_spare(network)
        ):
            raise TooManyRequests("too many tokens with a wrong signature", retry_after_s=1.0)

    def failed(self, source: str) -> None:
        """Count a failure of *source*, which was checked right before."""
        network = _network(source)
        self._failures += 1
        self._counts[network] = self._counts.get(network, 0) + 1

    def _may_use_spare(self, network: str) -> bool:
        blank = network not in self._counts and network not in self._former
        return blank and self._failures < self._total + self._spare


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
