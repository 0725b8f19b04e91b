"""All that one worker serves with, and what it does four times a second."""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import dataclass
from weakref import WeakSet

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import collector_paused, read_snapshot
from entrepot.chassis.errors import Error
from entrepot.chassis.limits import Limiter
from entrepot.chassis.log import LineWriter
from entrepot.chassis.metrics import NO_HANDLER, Meter
from entrepot.chassis.operation import OperationIds
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import RecordConnector, Upstream
from entrepot.connectors.link import Link
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.connectors.odoo.refusals import SharedRefusals
from entrepot.errors import StoreUnavailable
from entrepot.gateway import table
from entrepot.gateway.accesslog import AccessLog
from entrepot.gateway.cache import AnswerCache
from entrepot.gateway.exchange import Exchange
from entrepot.gateway.fence import FencedPost
from entrepot.gateway.ledger import Ledger, OpenIntake, no_intake
from entrepot.gateway.metrics import Metrics
from entrepot.gateway.operations import LATER
from entrepot.gateway.pages import PAGES
from entrepot.gateway.probes import Prober
from entrepot.gateway.sources import Sources, lies_in
from entrepot.gateway.stages.match import TRANSACTIONS
from entrepot.gateway.table import Table
from entrepot.identity.keys import Keyring
from entrepot.identity.revocation import Revocations
from entrepot.identity.tokens import Verifier, addressee
from entrepot.settings import Settings
from entrepot.wire.clock import Clock

log = logging.getLogger(__name__)

SWEEP_S = 0.25
PLACES_POLL_S = 0.005
"""How often places that other processes gave back are looked for, while somebody waits."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalog made ready, not in force yet."""

    table: Table
    links: dict[str, Link]
    connectors: dict[str, RecordConnector]
    endpoints: int


class Gateway:
    """What one worker serves with. Lives on the thread of its event loop.

    *table* is the catalog in force; it is swapped whole when a new revision appears. *tasks* is the work on records
    that is under way.
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
        self.metrics_directory = directory / "metrics"
        self.meter = Meter(self.metrics_directory, process)
        self.metrics = Metrics(self.meter)
        self.access = AccessLog(LineWriter(2)) if _wants_access_log(settings) else None
        self.answers = AnswerCache(
            directory / "cache", shared, memory_bytes=settings.gateway.cache_memory_bytes,
            disk_bytes=settings.gateway.cache_disk_bytes,
        )  # fmt: skip
        self.ledger = Ledger(open_intake, loop, directory=directory, min_free_bytes=settings.ledger.min_free_bytes)
        self.links: dict[str, Link] = {}
        self.connectors: dict[str, RecordConnector] = {}
        self.table = table.build(Catalog(), {}, {}, self.limiter)
        # Links of former revisions, as long as something that began with them holds them.
        self._retired: WeakSet[Link] = WeakSet()
        self.tasks: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Future[Prepared | None] | None = None
        self._revision_counter = shared.counter("revision")
        self._seen: tuple[int, ...] = ()
        self.prober = Prober(shared, loop)
        self.connections = 0
        self._polling = False

    # -- the catalog

    def load(self) -> None:
        """Take the catalog of the snapshot into force before the first request."""
        self._seen = self._present()
        prepared = self._prepared()
        if prepared is not None:
            self.enforce(prepared)

    def refresh(self) -> None:
        """Take a new revision of the catalog and new revocations into force, if there are any."""
        seen = self._present()
        if seen != self._seen and self._loading is None:
            self._seen = seen
            # A catalog of thousands of endpoints takes a second to make ready: not on the loop.
            self._loading = self.loop.run_in_executor(None, self._prepared)
            self._loading.add_done_callback(self._loaded)
        try:
            self.verifier.refresh()
        except StoreUnavailable as error:
            log.error("revocations cannot be read, the known ones stay in force", extra={"reason": str(error)})
        self.verifier.prune(self.clock.wall)

    def _present(self) -> tuple[int, ...]:
        """Return what tells one revision from the next: the counter, and the file for when the shared state is lost."""
        try:
            status = (self.settings.store.directory / "snapshot.json").stat()
        except OSError:
            return (self._revision_counter.read(),)
        return self._revision_counter.read(), status.st_ino, status.st_mtime_ns

    def _loaded(self, loading: asyncio.Future[Prepared | None]) -> None:
        self._loading = None
        if loading.cancelled():
            return
        prepared = loading.result()
        if prepared is not None:
            self.enforce(prepared)
            gc.freeze()

    def _prepared(self) -> Prepared | None:
        path = self.settings.store.directory / "snapshot.json"
        if not path.exists():
            return None
        try:
            with collector_paused():
                return self.prepare(read_snapshot(path))
        except Error as error:
            log.error("the new catalog cannot be used, the one in force stays", extra={"reason": str(error)})
        except Exception:  # what one revision breaks must not end a worker
            log.exception("the new catalog cannot be made ready, the one in force stays")
        return None

    def prepare(self, catalog: Catalog) -> Prepared:
        """Make *catalog* ready; may run in a thread. Links to upstreams that stay as they were are kept.

        Raises SettingsError when a secret cannot be read.
        """
        links = {name: self._link(upstream) for name, upstream in catalog.upstreams.items()}
        connectors = {
            name: self.connectors[name]
            if self.links.get(name) is link
            else OdooConnector(link.upstream, FencedPost(link), refusals=SharedRefusals(self.shared, link.upstream))
            for name, link in links.items()
            if link.upstream.kind == "odoo"
        }
        return Prepared(
            table.build(catalog, links, connectors, self.limiter), links, connectors, len(catalog.endpoints)
        )

    def enforce(self, prepared: Prepared) -> None:
        """Serve from *prepared* from now on; what has begun goes on with the table that it began with."""
        for name, link in self.links.items():
            if prepared.links.get(name) is not link:
                link.retire()
                self._retired.add(link)
        self.table, self.links, self.connectors = prepared.table, prepared.links, prepared.connectors
        for link in self.links.values():
            if not link.upstream.verify:
                log.warning("TLS of an upstream is not verified", extra={"upstream": link.upstream.name})
        log.info("catalog in force", extra={"revision": self.table.revision, "endpoints": prepared.endpoints})

    def _link(self, upstream: Upstream) -> Link:
        known = self.links.get(upstream.name)
        if known is not None and known.upstream == upstream:
            return known
        return Link(
            upstream, self.shared, self.clock, self.loop, self.wait_for_places,
            former=known, pause_s=self.settings.gateway.write_timeout_s,
        )  # fmt: skip

    # -- the clockwork

    def sweep(self) -> None:
        """Apply deadlines and changes; called every ``SWEEP_S`` seconds."""
        now = self.clock.now
        for link in self._all_links():
            link.sweep(now)
        self.prober.sweep(self.links, self.connectors, now)
        self.refresh()
        self.ledger.sweep(now)
        if self.access is not None:
            self.access.flush()

    def _all_links(self) -> tuple[Link, ...]:
        return (*self.links.values(), *self._retired)

    @property
    def is_working(self) -> bool:
        """Whether something goes on for a caller, who may have gone: a write that has begun is not broken off."""
        return bool(self.tasks) or any(link.is_relaying for link in self._all_links())

    def flush_metrics(self) -> None:
        """Write the counts of this worker where every worker's scrape finds them."""
        self.metrics.observe(self)
        self.meter.flush()

    def wait_for_places(self) -> None:
        """Look for places that other processes give back, as long as somebody waits."""
        if not self._polling:
            self._polling = True
            self.loop.call_later(PLACES_POLL_S, self._poll_places)

    def _poll_places(self) -> None:
        self._polling = False
        now = self.loop.time()
        waiting = False
        for link in self._all_links():
            if link.places.has_waiters:
                link.places.poll(now)
                waiting = waiting or link.places.has_waiters
        if waiting:
            self.wait_for_places()

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
        return "/transactions/{id}" if path.startswith(TRANSACTIONS + b"/") else NO_HANDLER

    def note_fault(self, exchange: Exchange, error: Error) -> None:
        """Log an error that is not the caller's."""
        facts = {"operation_id": exchange.operation_id.decode("ascii"), "code": error.code}
        if exchange.matched:
            facts["endpoint"] = exchange.operation.endpoint.name
        if error.__cause__ is not None:
            facts["cause"] = str(error.__cause__)
        log.warning("%s", error, extra=facts)

    # -- who calls

    def may_see_metrics(self, source: str) -> bool:
        """Tell whether *source* may read metrics and details of the status."""
        return lies_in(self.settings.metrics.allow, source)

    def close(self) -> None:
        """Write what is still in memory and let go of everything."""
        self.ledger.close()
        self.flush_metrics()
        if self.access is not None:
            self.access.flush()
        self.answers.close()
        for link in self._all_links():
            link.close()


def _wants_access_log(settings: Settings) -> bool:
    return settings.gateway.access_log and settings.log.level in {"debug", "info"}


_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})


def _method(method: bytes) -> str:
    """Return *method* as a label; a made-up one must not make a time series of its own."""
    return method.decode("ascii") if method in _METHODS else "other"
