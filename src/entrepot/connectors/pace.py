"""How long a delivery to an upstream takes: couriers of this host note it, and all its processes know it."""

from __future__ import annotations

from entrepot.chassis.shared import SharedState

SHARE = 0.1
"""What the latest delivery counts of the mean."""


class Pace:
    """The mean time that the latest deliveries to the upstream *name* took; 0.0 as long as there was none."""

    __slots__ = ("_cell", "_cells")

    def __init__(self, shared: SharedState, name: str) -> None:
        self._cells = shared.cells
        self._cell = shared.slot(f"pace:{name}")

    def note(self, took_s: float) -> None:
        """Count a delivery that took *took_s*. Two at the same moment may count as one."""
        mean = self._cells[self._cell]
        self._cells[self._cell] = mean + (took_s - mean) * SHARE if mean else took_s

    def delay_s(self, ahead: int, places: int) -> float:
        """Return how long *ahead* deliveries take with so many *places*."""
        return ahead * self._cells[self._cell] / places
