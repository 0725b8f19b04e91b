"""A breaker that all processes of a host share: an upstream that fails is left alone, then tried by single calls."""

from __future__ import annotations

from typing import Literal

from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import BreakerPolicy

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed; after *policy.failures* in a row open for *policy.open_s*; then half-open: one probe at a time.

    A probe that does not come back (its process was killed) is given up after *probe_s*, which should be longer than
    the upstream's timeout, or two probes may be under way. All times are ``time.monotonic``.
    """

    __slots__ = ("_cells", "_failures", "_mutex", "_probe", "_probing", "_until", "policy", "probe_s")

    def __init__(self, shared: SharedState, name: str, policy: BreakerPolicy, *, probe_s: float = 30.0) -> None:
        slot = shared.slot(f"breaker:{name}")
        self._cells = shared.cells
        self._until = slot  # open until then; 0 when closed
        self._failures = slot + 1  # in a row
        self._probe = slot + 2  # when the probe under way is given up; 0 when there is none
        self._mutex = shared.mutex(slot)
        self._probing = 0.0
        self.policy = policy
        self.probe_s = probe_s

    def allows(self, now: float) -> bool:
        """Say whether a call may go out at *now*; one that may ends in ``succeeded``, ``failed`` or ``released``."""
        return self._cells[self._until] == 0.0 or self._may_probe(now)

    def _may_probe(self, now: float) -> bool:
        cells = self._cells
        with self._mutex:
            if cells[self._until] == 0.0:
                return True
            if now < cells[self._until] or now < cells[self._probe]:
                return False
            self._probing = cells[self._probe] = now + self.probe_s
            return True

    def succeeded(self) -> None:
        """Close: a call was answered."""
        if self._cells[self._failures]:
            with self._mutex:
                self._cells[self._until] = self._cells[self._probe] = self._cells[self._failures] = 0.0

    def failed(self, now: float) -> None:
        """Count a call that went wrong by the upstream's fault, and open when it is one too many."""
        cells = self._cells
        with self._mutex:
            # The count first: a breaker that is open has one, by which succeeded() knows that there is something to do.
            cells[self._failures] += 1.0
            if self._is_final(now):
                cells[self._until] = now + self.policy.open_s
                cells[self._probe] = 0.0

    def _is_final(self, now: float) -> bool:
        cells = self._cells
        if cells[self._until] == 0.0:
            return cells[self._failures] >= self.policy.failures
        # Calls from before it opened may fail late. They say nothing while it is open or another process tries it.
        probe = cells[self._probe]
        return now >= cells[self._until] and (now >= probe or probe == self._probing)

    def released(self) -> None:
        """Take back a call that was allowed and never went out: if it was the probe, another may go at once."""
        if self._probing:
            with self._mutex:
                if self._cells[self._probe] == self._probing:
                    self._cells[self._probe] = 0.0
            self._probing = 0.0

    def state(self, now: float) -> State:
        """Return the state at *now*."""
        until = self._cells[self._until]
        if until == 0.0:
            return "closed"
        return "open" if now < until else "half-open"

    def open_for_s(self, now: float) -> float:
        """Return the seconds until the next probe may go, 0.0 when a call may go now."""
        until = self._cells[self._until]
        return max(0.0, until - now, self._cells[self._probe] - now) if until else 0.0

    def failures(self) -> int:
        """Return how many calls have failed in a row."""
        return int(self._cells[self._failures])
