"""Rate limits and daily quotas that hold over all processes of a host.

The generic cell rate algorithm (GCRA, ITU-T I.371): a bucket is one moment, the *theoretical arrival time* at which it
is empty again, in a cell of the shared state, changed under a mutex. In any window of *w* seconds a bucket lets at most
``burst + per_second * w`` requests through, whatever processes ask it, come, go, or are killed; nothing is batched.
A quota is a day and how many requests have passed in it, in a cell that outlives restarts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from entrepot.chassis.mutex import try_lock, unlock
from entrepot.chassis.shared import SharedState

# Moments and intervals are multiples of this, 15 ns: then all sums of them are exact for the first four years of a
# boot, and nothing drifts. Adding and taking away _ROUNDER rounds a moment to such a multiple.
_GRAIN_S = 2.0**-26
_ROUNDER = 1.5 * 2.0**26
_REMEMBERED = 1024
DAY_S = 86_400.0
# No coarse clock is later than this.
_LATE_S = 2.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``burst + per_second * w`` requests in any window of *w* seconds (*w* ≥ 1)."""

    per_second: float
    burst: int


class Limiter:
    """Buckets in the shared state of a host."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def bucket(self, name: str, rate: Rate, *, policy: str = "default") -> Bucket:
        """Return the bucket *name*, the same one in all processes; *policy* is its name in ``RateLimit`` fields.

        Another rate than before is in force at once, in all processes, also in those that still hold the bucket with
        the old one. What was used of the burst stays used, up to the new burst. Raises ValueError for a rate that
        lets nothing through.
        """
        return Bucket(self._shared, name, rate, policy)

    def day(self, name: str, most: int) -> DayQuota:
        """Return the quota *name* of *most* requests in a day of UTC, the same one in all processes."""
        return DayQuota(self._shared, name, most)


class Bucket:
    """A rate limit for one name. *policy* is its value for ``RateLimit-Policy``, ready to be sent."""

    __slots__ = ("_address", "_cells", "_fields", "_label", "_lines", "_mutex", "_slot", "policy", "rate")

    def __init__(self, shared: SharedState, name: str, rate: Rate, policy: str) -> None:
        if rate.per_second <= 0 or rate.burst < 1:
            raise ValueError(f"a rate needs per_second above 0 and burst of at least 1, got {rate}")
        self.rate = rate
        self._slot = shared.slot(f"limit:{name}")  # cells: when it is empty again, interval, interval * burst
        self._cells = shared.cells
        self._mutex = shared.mutex(self._slot)
        self._address = self._mutex.address
        self._label = b'"%b"' % policy.encode("ascii")
        self.policy = b"%b;q=%d;w=%d" % (self._label, rate.burst, ceil(rate.burst / rate.per_second))
        self._fields, self._lines = _remembered(policy, rate)
        self._put_in_force(_rounded(time.monotonic()))

    def _put_in_force(self, now: float) -> None:
        interval = ceil(1.0 / self.rate.per_second / _GRAIN_S) * _GRAIN_S
        cells, slot = self._cells, self._slot
        with self._mutex:
            before = cells[slot + 1]
            if (before, cells[slot + 2]) != (interval, interval * self.rate.burst):
                if before and cells[slot] > now:
                    used = (cells[slot] - now) / before
                    cells[slot] = now + _rounded(min(used, self.rate.burst) * interval)
                cells[slot + 1] = interval
                cells[slot + 2] = interval * self.rate.burst

    def take(self, now: float) -> float:
        """Take one request at *now* (``time.monotonic()`` itself, no coarse clock: the claim is as good as *now*).

        Returns how many more would pass now, a whole number of at least 0; or, when this one does not pass, a
        negative number: minus the seconds until one would.
        """
        cells, slot, address = self._cells, self._slot, self._address
        now = now + _ROUNDER - _ROUNDER
        code = try_lock(address)
        if code:
            self._mutex.settle(code)
        try:
            after = cells[slot]
            if after < now:  # noqa: PLR1730 - max() costs 50 ns more
                after = now
            interval = cells[slot + 1]
            after += interval
            room = now + cells[slot + 2] - after
            if room >= 0.0:
                cells[slot] = after
                return room // interval
            return room
        finally:
            unlock(address)

    def left(self, now: float) -> float:
        """Return how many requests would pass at *now*, and take none; no lock, so for display only."""
        interval = self._cells[self._slot + 1]
        room = now + self._cells[self._slot + 2] - max(self._cells[self._slot], now)
        return max(0.0, room // interval)

    def field(self, taken: float) -> bytes:
        """Return the value for ``RateLimit`` after ``take`` has answered *taken*.

        Source: draft-ietf-httpapi-ratelimit-headers-11. ``t`` is the seconds until the whole burst is there again, or,
        for a refused request, until one passes.
        """
        key = int(taken) if taken >= 0.0 else -ceil(-taken)
        known = self._fields.get(key)
        if known is None:
            known = self._make_field(key)
            if len(self._fields) < _REMEMBERED:
                self._fields[key] = known
        return known

    def lines(self, taken: float) -> bytes:
        """Return the header lines ``RateLimit-Policy`` and ``RateLimit`` after ``take`` has answered *taken*."""
        known = self._lines.get(taken)
        if known is None:
            known = b"ratelimit-policy: %b\r\nratelimit: %b\r\n" % (self.policy, self.field(taken))
            if taken >= 0.0 and len(self._lines) < _REMEMBERED:
                self._lines[taken] = known
        return known

    def _make_field(self, key: int) -> bytes:
        if key < 0:
            return b"%b;r=0;t=%d" % (self._label, -key)
        return b"%b;r=%d;t=%d" % (self._label, key, ceil((self.rate.burst - key) / self.rate.per_second))


class DayQuota:
    """How many requests pass in one day of UTC. *policy* is its value for ``RateLimit-Policy``, ready to be sent.

    When the clock goes back over midnight, the day begins anew: a wrong clock may let more through, and locks no one
    out.
    """

    __slots__ = ("_cells", "_most", "_mutex", "_slot", "policy")

    def __init__(self, shared: SharedState, name: str, most: int) -> None:
        if most < 1:
            raise ValueError(f"a quota is at least 1, got {most}")
        self._slot = shared.slot(f"quota:{name}", kept=True)  # cells: the day since 1970, what has passed in it
        self._cells = shared.cells
        self._mutex = shared.mutex(self._slot)
        self._most = most
        self.policy = b'"day";q=%d;w=86400' % most

    def take(self, now: float) -> float:
        """Take one request at *now* (seconds since 1970).

        Returns how many more would pass today, at least 0; or, when this one does not pass, a negative number: minus
        the seconds until the next day.
        """
        cells, slot = self._cells, self._slot
        day = now // DAY_S
        with self._mutex:
            if cells[slot] == day + 1.0 and (day + 1.0) * DAY_S - now < _LATE_S:
                day += 1.0  # another process has seen midnight already, with a clock that is read a little later
            if cells[slot] != day:
                cells[slot], cells[slot + 1] = day, 0.0
            left = self._most - cells[slot + 1] - 1.0
            if left >= 0.0:
                cells[slot + 1] += 1.0
                return left
        return now - (day + 1.0) * DAY_S

    def left(self, now: float) -> float:
        """Return how many requests would pass at *now*, and take none; no lock, so for display only."""
        used = self._cells[self._slot + 1] if self._cells[self._slot] == now // DAY_S else 0.0
        return max(0.0, self._most - used)

    def field(self, left: float, now: float) -> bytes:
        """Return the value for ``RateLimit`` when *left* requests may follow, or none when it is negative."""
        return b'"day";r=%d;t=%d' % (max(left, 0.0), ceil(DAY_S - now % DAY_S))


@lru_cache(maxsize=1024)
def _remembered(policy: str, rate: Rate) -> tuple[dict[int, bytes], dict[float, bytes]]:  # noqa: ARG001 - keys
    """Return where fields and lines are remembered: once for all buckets of a rate, of which very many may be asked."""
    return {}, {}


def _rounded(moment: float) -> float:
    return moment + _ROUNDER - _ROUNDER
