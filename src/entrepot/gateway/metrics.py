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
        self.unknown_revocations = meter.counter(
            "entrepot_revocations_unknown_total", "Requests refused because revocations could not be read for too long."
        )
        self._revocations_age = meter.gauge(
            "entrepot_revocations_age_seconds",
            "Since the revocations were last read, in the slowest worker.",
            merge="max",
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
        self._unenforced = meter.gauge(
            "entrepot_limits_unenforced", "Rates and quotas of clients that there is no room to count.", merge="max"
        )
        self._lost_lines = meter.counter(
            "entrepot_access_lines_lost_total",
            "Lines of requests that were not written: more than access_most, or a reader that was too slow.",
            ("why",),
        )
        self._store_away = meter.gauge(
            "entrepot_store_away", "Whether a worker or a courier cannot use the database.", merge="max"
        )
        self._store_full = meter.gauge(
            "entrepot_store_full", "Whether there is too little free space to accept anything.", merge="max"
        )
        self._master_unusable = meter.gauge(
            "entrepot_master_key_unusable",
            "Whether the master key is missing, or another one than that of the store.",
            merge="max",
        )
        self._backup_age = meter.gauge("entrepot_backup_age_seconds", "Since the newest backup was made.", merge="min")
        self._revision = meter.gauge("entrepot_catalog_revision", "The oldest revision in force.", merge="min")

    def observe(self, gateway: Gateway) -> None:
        """Look at what is counted elsewhere."""
        now = monotonic()
        for name, link in gateway.links.links.items():
            self._calls.labels(name).set(link.places.in_use())
            self._waiting.labels(name).set(link.places.queued())
            self._open.labels(name).set(link.breaker.state(now) != "closed")
            if link.upstream.probe is not None:
                self._up.labels(name).set(gateway.prober.is_up(name))
        self._revision.labels().set(gateway.table.revision)
        self._unenforced.labels().set(gateway.table.principals.unenforced)
        self._connections.labels().set(gateway.connections)
        if gateway.access is not None:
            for why, count in (("most", gateway.access.left_out), ("reader", gateway.access.dropped)):
                lost = self._lost_lines.labels(why)
                lost.inc(count - lost.value)
        self._revocations_age.labels().set(gateway.revocations_age_s)
        self._store_away.labels().set(gateway.ledger.is_away)
        self._store_full.labels().set(gateway.ledger.is_full)
        self._master_unusable.labels().set(not gateway.master.is_usable)
        backup_age_s = gateway.backups.age_s(now, gateway.clock.wall)
        if backup_age_s is not None:
            self._backup_age.labels().set(backup_age_s)
