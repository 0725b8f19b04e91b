"""All that one worker serves with, and what it does four times a second."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from dataclasses import dataclass

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.watch import CatalogWatch
from entrepot.chassis.errors import Error
from entrepot.chassis.limits import Limiter
from entrepot.chassis.metrics import NO_HANDLER, Meter
from entrepot.chassis.networks import lies_in
from entrepot.chassis.occupancy import occupy
from entrepot.chassis.operation import OperationIds
from entrepot.chassis.shared import SharedState
from entrepot.connectors.links import Links, Reach
from entrepot.errors import StoreUnavailable
from entrepot.gateway import table
from entrepot.gateway.accesslog import open_access_log
from entrepot.gateway.authenticators import authenticators
from entrepot.gateway.backups import Backups
from entrepot.gateway.cache import AnswerCache
from entrepot.gateway.exchange import Exchange
from entrepot.gateway.ledger import Ledger, OpenIntake, no_intake
from entrepot.gateway.metrics import Metrics
from entrepot.gateway.operations import LATER
from entrepot.gateway.pages import PAGES
from entrepot.gateway.portal import Portal, is_portal_path, page_of
from entrepot.gateway.probes import Prober
from entrepot.gateway.sources import Sources
from entrepot.gateway.stages.match import TRANSACTIONS
from entrepot.gateway.table import Table
from entrepot.identity.api_keys import ApiKeys
from entrepot.identity.keys import Keyring
from entrepot.identity.master import MasterKey
from entrepot.identity.revocation import Revocations
from entrepot.identity.tokens import Verifier, addressee
from entrepot.settings import Settings
from entrepot.wire.clock import Clock

log = logging.getLogger(__name__)

SWEEP_S = 0.25
MOST_FAULTS = 50


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalog made ready, not in force yet."""

    table: Table
    reach: Reach
    endpoints: int


class Gateway:
    """What one worker serves with. Lives on the thread of its event loop.

    *name* is what its tries stand under in the ledger. *table* is the catalog in force; it is swapped whole when a new
    revision appears. *tasks* is the work on records that is under way, *listening* the addresses of its sockets.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        loop: asyncio.AbstractEventLoop,
        process: str,
        *,
        open_intake: OpenIntake = no_intake,
    ) -> None:
        directory = settings.store.directory
        self.occupant = occupy(directory)
        self.name = f"{socket.gethostname()}:{os.getpid()}"[-80:]
        self.settings = settings
        self.shared = shared
        self.loop = loop
        self.clock = Clock()
        self.clock.tick()
        self.operation_ids = OperationIds()
        self.public_url = settings.gateway.public_url.rstrip("/")
        self.pages = PAGES
        self.sources = Sources(settings.gateway.trusted, forwarded=settings.gateway.forwarded == "forwarded")
        self.limiter = Limiter(shared)
        self.keyring = Keyring.open(directory / "keys")
        self.revocations = Revocations(directory / "revocations", shared.counter("revocations"))
        self.revocations.load()
        issuer = addressee(self.public_url)
        self.verifier = Verifier(
            self.keyring, self.revocations, issuer=issuer, audience=issuer, leeway_s=settings.tokens.leeway_s
        )
        self.hears_revocations = self.knows_revocations = True
        self._revocations_read_at = self.clock.now
        self.master = MasterKey(settings.keys.master, directory)
        self.api_keys = ApiKeys.open(directory, shared.counter("credentials"), self.master)
        self.authenticators = authenticators(self)
        self.metrics_directory = directory / "metrics"
        self.meter = Meter(self.metrics_directory, process)
        self.metrics = Metrics(self.meter)
        self.backups = Backups(directory)
        self.access = open_access_log(settings.log) if _wants_access_log(settings) else None
        self.answers = AnswerCache(
            directory / "cache", shared, memory_bytes=settings.gateway.cache_memory_bytes,
            disk_bytes=settings.gateway.cache_disk_bytes,
        )  # fmt: skip
        self.ledger = Ledger(open_intake, loop, directory=directory, min_free_bytes=settings.ledger.min_free_bytes)
        self.links = Links(shared, self.clock, loop, pause_s=settings.gateway.write_timeout_s)
        self.portal = Portal(settings.portal, shared, self.clock, loop)
        self.table = table.build(Catalog(), Reach(), self.limiter)
        self.tasks: set[asyncio.Task[None]] = set()
        self.prober = Prober(shared, loop)
        self.connections = 0
        self.listening: tuple[str, ...] = ()
        self._fault_second = self._faults = 0
        self._watch = CatalogWatch(directory / "snapshot.json", loop, prepare=self.prepare, enforce=self._enforce_later)

    # -- the catalog

    def load(self) -> None:
        """Take the catalog of the snapshot into force before the first request."""
        prepared = self._watch.load()
        if prepared is not None:
            self.enforce(prepared)

    def refresh(self) -> None:
        """Take a new revision of the catalog and new revocations into force, if there are any."""
        self._watch.refresh()
        self.refresh_revocations()
        try:
            self.api_keys.refresh()
        except StoreUnavailable as error:
            log.error("API keys cannot be read, the known ones stay good", extra={"reason": str(error)})
        self.verifier.prune(self.clock.wall)

    def refresh_revocations(self) -> None:
        """Take new revocations into force; when they cannot be read, none is looked for until the next sweep.

        The known ones stay in force; when they are older than they may be, *knows_revocations* ends.
        """
        try:
            self.verifier.refresh()
            self.hears_revocations = True
            self._revocations_read_at = self.clock.now
        except StoreUnavailable as error:
            self.hears_revocations = False
            log.error("revocations cannot be read, the known ones stay in force", extra={"reason": str(error)})
        knew = self.knows_revocations
        self.knows_revocations = self.revocations_age_s <= self.settings.gateway.max_revocation_age_s
        if knew and not self.knows_revocations:
            log.error("revocations could not be read for too long, nobody is let in")
        elif self.knows_revocations and not knew:
            log.info("revocations are read again")

    @property
    def revocations_age_s(self) -> float:
        """How long ago the revocations were last read."""
        return self.clock.now - self._revocations_read_at

    def prepare(self, catalog: Catalog) -> Prepared:
        """Make *catalog* ready; may run in a thread. Raises SettingsError when a secret cannot be read."""
        reach = self.links.prepare(catalog.upstreams)
        return Prepared(table.build(catalog, reach, self.limiter), reach, len(catalog.endpoints))

    def enforce(self, prepared: Prepared) -> None:
        """Serve from *prepared* from now on; what has begun goes on with the table that it began with."""
        self.links.enforce(prepared.reach)
        self.table = prepared.table
        for name, link in self.links.links.items():
            if not link.upstream.verify:
                log.warning("TLS of an upstream is not verified", extra={"upstream": name})
        log.info("catalog in force", extra={"revision": self.table.revision, "endpoints": prepared.endpoints})

    def _enforce_later(self, prepared: Prepared) -> None:
        self.enforce(prepared)
        # It stays for long: the collector need not look at it.
        gc.freeze()

    # -- the clockwork

    def sweep(self) -> None:
        """Apply deadlines and changes; called every ``SWEEP_S`` seconds."""
        now = self.clock.now
        self.links.sweep(now)
        self.portal.sweep(now)
        self.prober.sweep(self.links, now)
        self.refresh()
        self.ledger.sweep(now)
        if self.access is not None:
            self.access.flush()

    @property
    def is_working(self) -> bool:
        """Whether something goes on for a caller, who may have gone: a write that has begun is not broken off."""
        return bool(self.tasks) or any(link.is_relaying for link in self.links.all())

    def flush_metrics(self) -> None:
        """Write the counts of this worker where every worker's scrape finds them."""
        self.metrics.observe(self)
        self.meter.flush()

    # -- what is noted of an exchange

    def note(self, exchange: Exchange, status: int, took_s: float) -> None:
        """Count the exchange and write its line of the access log."""
        operation = exchange.operation
        if operation is LATER:
            handler = self._page(exchange.path)
            self.metrics.durations.labels(_method(exchange.method), handler, str(status)).observe(took_s)
        else:
            key = (exchange.method, status)
            histogram = operation.durations.get(key)
            if histogram is None:
                histogram = operation.durations[key] = self.metrics.durations.labels(
                    exchange.method.decode("ascii"), operation.endpoint.name, str(status)
                )
            histogram.observe(took_s)
        if self.access is not None:
            self.access.write(exchange, status, took_s)

    def _page(self, path: bytes) -> str:
        """Return which of the gateway's own pages *path* is, as a label."""
        if path in self.pages or path == TRANSACTIONS:
            return path.decode("ascii")
        if is_portal_path(path):
            return page_of(path)
        return "/transactions/{id}" if path.startswith(TRANSACTIONS + b"/") else NO_HANDLER

    def note_fault(self, exchange: Exchange, error: Error) -> None:
        """Log an error that is not the caller's: at most ``MOST_FAULTS`` in a second, and how many more there were.

        The access log has all of them.
        """
        if not self._may_note_fault():
            return
        facts = {"operation_id": exchange.operation_id.decode("ascii"), "code": error.code}
        if exchange.matched:
            facts["endpoint"] = exchange.operation.endpoint.name
        if error.__cause__ is not None:
            facts["cause"] = str(error.__cause__)
        log.warning("%s", error, extra=facts)

    def _may_note_fault(self) -> bool:
        second = int(self.clock.wall)
        if second != self._fault_second:
            surplus = self._faults - MOST_FAULTS
            self._fault_second, self._faults = second, 0
            if surplus > 0:
                log.warning("more requests failed than lines were written of it", extra={"requests": surplus})
        self._faults += 1
        return self._faults <= MOST_FAULTS

    # -- who calls

    def may_see_metrics(self, source: str) -> bool:
        """Tell whether *source* may read metrics and details of the status."""
        return lies_in(self.settings.metrics.allow, source)

    def close(self) -> None:
        """Write what is still in memory and let go of everything."""
        self.ledger.close()
        self.flush_metrics()
        if self.access is not None:
            self.access.close()
        self.answers.close()
        self.links.close()
        self.portal.close()
        self.api_keys.close()
        self.occupant.close()


def _wants_access_log(settings: Settings) -> bool:
    return settings.gateway.access_log and settings.log.level in {"debug", "info"}


_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})


def _method(method: bytes) -> str:
    """Return *method* as a label; a made-up one must not make a time series of its own."""
    return method.decode("ascii") if method in _METHODS else "other"
