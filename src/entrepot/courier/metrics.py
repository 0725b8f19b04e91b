"""What a courier counts (docs/reference/metrics.rst)."""

from __future__ import annotations

from collections.abc import Mapping

from entrepot.chassis.metrics import Gauge, Meter, MeterFamily


def store_away(meter: Meter) -> MeterFamily[Gauge]:
    """Return ``entrepot_store_away``, which workers of the gateway have, too."""
    return meter.gauge("entrepot_store_away", "Whether a worker or a courier cannot use the database.", merge="max")


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
        meter.gauge("entrepot_couriers", "Couriers that run on this host.").labels().set(1)
        self.store_away = store_away(meter).labels()
        self._seen: set[str] = set()

    def observe(self, backlog: Mapping[str, int]) -> None:
        """Note what waits at each upstream; where nothing waits any more it is 0."""
        self._seen |= backlog.keys()
        for upstream in self._seen:
            self._backlog.labels(upstream).set(backlog.get(upstream, 0))
