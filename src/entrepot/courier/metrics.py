"""What a courier counts (docs/reference/metrics.rst)."""

from __future__ import annotations

from collections.abc import Mapping

from entrepot.chassis.metrics import Meter


class Metrics:
    """The metrics of one courier: ``deliveries`` as they occur, the backlog when it was looked at."""

    def __init__(self, meter: Meter) -> None:
        self.deliveries = meter.counter(
            "entrepot_deliveries_total",
            "Deliveries by what came of them: delivered, or the class of the fault, or untried.",
            ("upstream", "outcome"),
        )
        self._backlog = meter.gauge(
            "entrepot_backlog", "Transactions accepted and not finished.", ("upstream",), merge="max"
        )
        self._seen: set[str] = set()

    def observe(self, backlog: Mapping[str, int]) -> None:
        """Note what waits at each upstream; where nothing waits any more it is 0."""
        self._seen |= backlog.keys()
        for upstream in self._seen:
            self._backlog.labels(upstream).set(backlog.get(upstream, 0))
