"""How many failed signature checks a source may cause: each costs the loop 0.2 ms, and the caller nothing."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from entrepot.errors import TooManyRequests


class FailureBudget:
    """Counts failures of each second: *per_source* from one address, *total* from all of them together.

    When *total* is used up, *spare* more may come from sources that have failed neither in this second nor in the one
    before, so that others' failures lock nobody out. Sources that have failed *per_source* times have *more* checks
    together, so that a good signature from there is found good: who sends both, or shares an address with an attacker,
    is not shut out by some bad ones. Only failures count: there is no bound on good signatures. An IPv6 source is its
    /64 network, which one host can fill. What is kept is bounded by *total* and *spare*, and by two seconds.
    """

    def __init__(self, per_source: int = 20, total: int = 1000, spare: int = 250, more: int = 250) -> None:
        self._per_source = per_source
        self._total = total
        self._spare = spare
        self._most_more = more
        self._counts: dict[str, int] = {}
        self._former: dict[str, int] = {}
        self._second = 0
        self._failures = 0
        self._more = 0

    def check(self, source: str, now: float) -> None:
        """Return when another check may be made for *source* at *now* (seconds); raise TooManyRequests when not."""
        second = int(now)
        if second != self._second:
            self._former = self._counts if second == self._second + 1 else {}
            self._second, self._failures, self._more, self._counts = second, 0, 0, {}
        if not self._failures:
            return
        network = network_of(source)
        if self._counts.get(network, 0) >= self._per_source:
            is_open = self._more < self._most_more
        else:
            is_open = self._failures < self._total or self._may_use_spare(network)
        if not is_open:
            raise _too_many()

    def failed(self, source: str) -> None:
        """Count a failure of *source*, which was checked right before; raise TooManyRequests when it had too many."""
        network = network_of(source)
        count = self._counts.get(network, 0)
        if count >= self._per_source:
            self._more += 1
            raise _too_many()
        self._failures += 1
        self._counts[network] = count + 1

    def _may_use_spare(self, network: str) -> bool:
        blank = network not in self._counts and network not in self._former
        return blank and self._failures < self._total + self._spare


def _too_many() -> TooManyRequests:
    return TooManyRequests("too many tokens with a wrong signature", retry_after_s=1.0)


def network_of(source: str) -> str:
    """Return what stands for all addresses that one caller can have: an IPv6 source is its /64 network."""
    if ":" not in source:
        return source
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or int(address) >> 64)
    return source
