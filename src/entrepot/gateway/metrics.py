"""What the data plane counts, beside the requests themselves (docs/reference/metrics.rst)."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from entrepot.chassis.metrics import Meter, http_durations

if TYPE_CHECKING:
    from entrepot.gateway.gateway import Gateway


class Metrics:
    """The metrics of one worker: durations, cache answers and acceptances as they occur, the rest when looked at."""

    def __init__(self, meter: Meter) -> None:
        upstream = ("upstream",)
        self.durations = http_durations(meter)
        self.cache_answers = meter.counter(
            "entrepot_cache_answers_total",
            "Requests of endpoints with a cache: hit, miss, or stale for a failing upstream.",
            ("endpoint", "outcome"),
        )
        self.accepted = meter.counter(
            "entrepot_transactions_accepted_total", "Writes that were answered 202 for the first time.", ("endpoint",)
        )
        self._connections = meter.gauge("entrepot_connections", "Open connections of partners, over all workers.")
        self._up = meter.gauge(
            "entrepot_upstream_up", "Whether the upstream answered its last probe.", upstream, merge="max"
        )
        self._calls = meter.gauge(
            "entrepot_upstream_calls", "Calls in flight at the upstream, over all processes.", upstream, merge="max"
        )
        self._waiting = meter.gauge(
            "entrepot_upstream_waiting", "Calls that wait for a place, over all processes.", upstream, merge="max"
        )
        self._open = meter.gauge(
            "entrepot_breaker_open", "Whether the upstream is left alone after failures.", upstream, merge="max"
        )
        self._revision = meter.gauge("entrepot_catalog_revision", "The oldest revision in force.", merge="min")

    def observe(self, gateway: Gateway) -> None:
        """Look at what is counted elsewhere."""
        now = monotonic()
        for name, link in gateway.links.items():
            self._calls.labels(name).set(link.places.in_use())
            self._waiting.labels(name).set(link.places.queued())
            self._open.labels(name).set(link.breaker.state(now) != "closed")
            if link.upstream.probe is not None:
                self._up.labels(name).set(gateway.prober.is_up(name))
        self._revision.labels().set(gateway.table.revision)
        self._connections.labels().set(gateway.connections)
