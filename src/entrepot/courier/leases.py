"""The leases that this courier holds, and whether it may still act on them.

A lease ends at a moment of the database's clock, by which all couriers go. A clock may be set, and a process may be
stopped and go on hours later, so a courier trusts a lease only while that clock and the monotonic one both say that it
lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from entrepot.ledger.entries import Lease

JUMP_S = 1.0
"""By so much the wall clock and the monotonic one may come apart between two looks; more is a clock that was set."""


class OwnLease:
    """A lease as its holder sees it, by the database's clock *wall*.

    *margin_s* before its end nothing is sent any more. *sent* is whether a request of it may have reached the upstream,
    *lost* whether another courier may have it.
    """

    __slots__ = ("_ends", "_monotonic", "_wall", "lease", "lost", "margin_s", "sent", "until")

    def __init__(
        self,
        lease: Lease,
        *,
        lease_s: float,
        margin_s: float,
        wall: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease = lease
        self.margin_s = margin_s
        self.sent = self.lost = False
        self._monotonic = monotonic
        self._wall = wall
        self.until = lease.until
        self._ends = monotonic() + min(lease_s, lease.until - wall())

    def may_send(self) -> bool:
        """Tell whether there is time to send a request before the lease ends."""
        if self.lost:
            return False
        return self._monotonic() < self._ends - self.margin_s and self._wall() < self.until - self.margin_s

    def extend(self, until: float, lease_s: float) -> None:
        """Note that the lease lasts to *until* (Unix time), at most *lease_s* from now on."""
        self.until = until
        self._ends = self._monotonic() + min(lease_s, until - self._wall())


class Leases:
    """All leases of this courier that are not settled, by the transaction's number."""

    def __init__(self) -> None:
        self._own: dict[int, OwnLease] = {}

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[OwnLease]:
        return iter(tuple(self._own.values()))

    def holds(self, own: OwnLease) -> bool:
        """Tell whether *own* is held: not settled yet, and not given anew."""
        return self._own.get(own.lease.seq) is own

    def add(self, own: OwnLease) -> None:
        """Hold *own*; an older lease of the same transaction is lost."""
        former = self._own.get(own.lease.seq)
        if former is not None:
            former.lost = True
        self._own[own.lease.seq] = own

    def remove(self, own: OwnLease) -> None:
        """Hold *own* no longer."""
        if self.holds(own):
            del self._own[own.lease.seq]


class ClockWatch:
    """Notices that somebody set the clock: the database's, *wall*, leaves the monotonic one behind, or falls behind."""

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._apart = wall() - monotonic()

    def was_set(self) -> bool:
        """Tell whether the clock was set since the last look."""
        before, self._apart = self._apart, self._wall() - self._monotonic()
        return abs(self._apart - before) > JUMP_S
