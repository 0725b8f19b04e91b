"""Rate limits that hold over all processes of a host.

The generic cell rate algorithm (GCRA, ITU-T I.371): a bucket is one moment, the *theoretical arrival time* at which it
is empty again, in a cell of the shared state, changed under a mutex. In any window of *w* seconds a bucket lets at most
``burst + per_second * w`` requests through, whatever processes ask it, come, go, or are killed; nothing is batched.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil

from entrepot.chassis.mutex import try_lock, unlock
from entrepot.chassis.shared import SharedState

# Moments are sums of floats: at an uptime of years they are off by some 1e-8 s. Without this the last request of a
# burst would be refused for nothing.
_GRAIN_S = 1e-9
_REMEMBERED = 1024


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

        A bucket that exists with another rate goes over to this one with its next request: what was used of the
        burst stays used, up to the new burst. Raises ValueError for a rate that lets nothing through.
        """
        return Bucket(self._shared, name, rate, policy)


class Bucket:
    """A rate limit for one name. *policy* is its value for ``RateLimit-Policy``, ready to be sent."""

    __slots__ = (
        "_address",
        "_cells",
        "_fields",
        "_interval",
        "_label",
        "_mark",
        "_mutex",
        "_slot",
        "_tolerance",
        "policy",
        "rate",
    )

    def __init__(self, shared: SharedState, name: str, rate: Rate, policy: str) -> None:
        if rate.per_second <= 0 or rate.burst < 1:
            raise ValueError(f"a rate needs per_second above 0 and burst of at least 1, got {rate}")
        self.rate = rate
        self._slot = shared.slot(f"limit:{name}")
        self._cells = shared.cells
        self._mutex = shared.mutex(self._slot)
        self._address = self._mutex.address
        self._interval = 1.0 / rate.per_second
        self._tolerance = rate.burst * self._interval + _GRAIN_S
        self._mark = _mark(rate)
        self._label = b'"%b"' % policy.encode("ascii")
        self.policy = b"%b;q=%d;w=%d" % (self._label, rate.burst, ceil(rate.burst / rate.per_second))
        self._fields: dict[int, bytes] = {}

    def take(self, now: float) -> float:
        """Take one request at *now* (``time.monotonic()`` itself, no coarse clock: the claim is as good as *now*).

        Returns how many more would pass now, a whole number of at least 0; or, when this one does not pass, a
        negative number: minus the seconds until one would.
        """
        cells, slot, address = self._cells, self._slot, self._address
        code = try_lock(address)
        if code:
            self._mutex.settle(code)
        try:
            if cells[slot + 1] != self._mark:
                self._change_rate(now)
            after = cells[slot]
            if after < now:  # noqa: PLR1730 - max() costs 50 ns more
                after = now
            after += self._interval
            room = now + self._tolerance - after
            if room >= 0.0:
                cells[slot] = after
                return room // self._interval
            return room
        finally:
            unlock(address)

    def _change_rate(self, now: float) -> None:
        """Turn the cells, written under another rate or none, into this one's."""
        cells, slot = self._cells, self._slot
        interval = cells[slot + 2]
        used = max(0.0, (cells[slot] - now) / interval) if interval else 0.0
        # First the moment: killed in between, the next one sees the old mark and converts once more.
        cells[slot] = now + min(used, self.rate.burst) * self._interval
        cells[slot + 2] = self._interval
        cells[slot + 1] = self._mark

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

    def _make_field(self, key: int) -> bytes:
        if key < 0:
            return b"%b;r=0;t=%d" % (self._label, -key)
        return b"%b;r=%d;t=%d" % (self._label, key, ceil((self.rate.burst - key) * self._interval))


def _mark(rate: Rate) -> float:
    """Return a number that stands for *rate*, never 0.0, the same in all processes."""
    digest = blake2b(struct.pack("=dq", rate.per_second, rate.burst), digest_size=6).digest()
    return 1.0 + int.from_bytes(digest, "big")
