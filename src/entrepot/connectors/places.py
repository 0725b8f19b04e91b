"""How many calls an upstream has in flight on this host, and who waits for a place.

Every process keeps what it has taken in a word of its own; the sum over the processes that live is what is in use. A
place is taken under a mutex and given back without one, so the upper bound beside the words is only ever too high:
while it is below the limit it need not be counted again. The waiting stay in the process they came to, oldest first.
A process looks for places that others have freed when it is polled.
"""

from __future__ import annotations

import time
from typing import Protocol

from entrepot.chassis.mutex import try_lock, unlock
from entrepot.chassis.shared import LANE_HEAD, ROWS, SharedState
from entrepot.errors import UpstreamBusy

# A place is left to another process whose first waiter came this much earlier than ours: nobody starves, and
# places rarely lie idle until that process is polled.
_COURTESY_S = 0.05
# A process that has not been polled for so long gets no such courtesy: it hangs, or is dead.
_SILENT_S = 0.1


class Waiter(Protocol):
    """Something that waits for a place; hashed by identity. One of the two is called, once, unless it is cancelled."""

    def on_place(self) -> None:
        """Go on with a place, which must be given back by ``leave``."""

    def on_no_place(self, error: UpstreamBusy) -> None:
        """Go on without: no place came free in time."""


class Places:
    """The places at one upstream: at most *limit* in use and *waiting* waiting on this host, none longer than *wait_s*.

    Made in the process that uses it, after ``SharedState.register``; for one thread. All times are ``time.monotonic``.
    """

    __slots__ = (
        "_address", "_cells", "_head", "_limit", "_mine", "_mutex", "_name", "_queue", "_row", "_serving", "_shared",
        "_wait_s", "_waiting", "_words",
    )  # fmt: skip

    def __init__(self, shared: SharedState, name: str, *, limit: int, waiting: int, wait_s: float) -> None:
        self._shared = shared
        self._name = name
        self._row = shared.row
        self._words = shared.words
        self._cells = shared.cells
        self._head = shared.lane(f"places:{name}")  # the bounds: in use, waiting
        self._mine = self._head + LANE_HEAD + self._row  # columns from here: in use, waiting, first arrival, last poll
        self._mutex = shared.mutex(self._head)
        self._address = self._mutex.address
        self._queue: dict[Waiter, tuple[float, float]] = {}  # arrival and deadline, in order of arrival
        self._serving = False
        self.configure(limit=limit, waiting=waiting, wait_s=wait_s)

    def configure(self, *, limit: int, waiting: int, wait_s: float) -> None:
        """Go by other numbers from now on; what is in use above a lower *limit* runs out by itself."""
        self._limit = limit
        self._waiting = waiting
        self._wait_s = wait_s

    @property
    def has_waiters(self) -> bool:
        """Whether someone waits in this process, so that ``poll`` must be called about every 5 ms."""
        return bool(self._queue)

    def in_use(self) -> int:
        """Return how many places are taken on this host; about, while other processes enter and leave."""
        return self._count(0)

    def queued(self) -> int:
        """Return how many wait on this host."""
        return self._count(1)

    def _count(self, column: int) -> int:
        start = self._head + LANE_HEAD + column * ROWS
        return sum(self._words[start : start + self._shared.rows_used])

    def enter(self, waiter: Waiter, now: float) -> bool:
        """Return True when a place is taken, to be given back by ``leave``; False when *waiter* has to wait.

        Raises UpstreamBusy when as many wait already as may.
        """
        if not self._queue:
            words, head, address = self._words, self._head, self._address
            code = try_lock(address)
            if code:
                self._mutex.settle(code)
            try:
                taken = words[head]
                if taken < self._limit and words[head + 1] == 0:
                    words[head] = taken + 1
                    words[self._mine] += 1
                    return True
            finally:
                unlock(address)
        return self._enter_full(waiter, now)

    def leave(self) -> None:
        """Give a place back; the first who waits in this process gets it before this returns."""
        held = self._words[self._mine] - 1
        if held < 0:
            raise RuntimeError(f"a place at {self._name} was given back that had not been taken")
        self._words[self._mine] = held
        if self._queue:
            self._serve(time.monotonic())

    def cancel(self, waiter: Waiter) -> bool:
        """Forget *waiter*; False when it does not wait (any more)."""
        if waiter not in self._queue:
            return False
        with self._mutex:
            self._dequeue(waiter)
        return True

    def poll(self, now: float) -> None:
        """Turn away who has waited too long, and take places that other processes have freed."""
        while self._queue:
            waiter, (_, deadline) = next(iter(self._queue.items()))
            if deadline > now:
                break
            with self._mutex:
                self._dequeue(waiter)
            waiter.on_no_place(self._busy(f"no place at {self._name} came free within {self._wait_s:g} s"))
        if self._queue:
            self._cells[self._mine + 3 * ROWS] = now
            self._serve(now)

    def _enter_full(self, waiter: Waiter, now: float) -> bool:
        with self._mutex:
            self._recount()
            if not self._queue and self._is_free_for(now, now):
                self._take()
                return True
            waiting = self._words[self._head + 1]
            if waiting < self._waiting:
                self._enqueue(waiter, now)
                return False
        raise self._busy(f"{waiting} calls wait for a place at {self._name} already")

    def _busy(self, message: str) -> UpstreamBusy:
        return UpstreamBusy(message, retry_after_s=max(1.0, self._wait_s))

    def _serve(self, now: float) -> None:
        # A waiter may fail at once and leave within on_place: this loop then goes on, instead of going deeper.
        if self._serving:
            return
        self._serving = True
        try:
            while (waiter := self._next(now)) is not None:
                waiter.on_place()
        finally:
            self._serving = False

    def _next(self, now: float) -> Waiter | None:
        """Take a place for the first who waits and return him; None when there is no place, or no one."""
        if not self._queue:
            return None
        waiter, (arrival, _) = next(iter(self._queue.items()))
        with self._mutex:
            self._recount()
            if not self._is_free_for(arrival, now):
                return None
            self._take()
            self._dequeue(waiter)
        return waiter

    # What follows is called with the mutex held.

    def _recount(self) -> None:
        self._words[self._head] = self._count(0)
        self._words[self._head + 1] = self._count(1)

    def _take(self) -> None:
        self._words[self._head] += 1
        self._words[self._mine] += 1

    def _is_free_for(self, arrival: float, now: float) -> bool:
        """Say whether one who came at *arrival* may have a place now; the bounds are fresh."""
        words, cells = self._words, self._cells
        if words[self._head] >= self._limit:
            return False
        if words[self._head + 1] == words[self._mine + ROWS]:
            return True
        first = self._head + LANE_HEAD
        for row in range(first, first + self._shared.rows_used):
            waits = row != self._mine and words[row + ROWS] > 0
            if waits and cells[row + 2 * ROWS] < arrival - _COURTESY_S and cells[row + 3 * ROWS] > now - _SILENT_S:
                return False
        return True

    def _enqueue(self, waiter: Waiter, now: float) -> None:
        if not self._queue:
            self._cells[self._mine + 2 * ROWS] = now
            self._cells[self._mine + 3 * ROWS] = now
        self._queue[waiter] = (now, now + self._wait_s)
        self._words[self._head + 1] += 1
        self._words[self._mine + ROWS] = len(self._queue)

    def _dequeue(self, waiter: Waiter) -> None:
        del self._queue[waiter]
        if self._queue:
            self._cells[self._mine + 2 * ROWS] = next(iter(self._queue.values()))[0]
        self._words[self._mine + ROWS] = len(self._queue)
        self._words[self._head + 1] = self._count(1)
