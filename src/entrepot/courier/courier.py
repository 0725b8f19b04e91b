"""The loop of one courier: claim, deliver, settle; and what it does by the clock.

Work is noticed by a counter in shared memory that every commit of accepted work moves; reading it costs nothing. The
ledger itself is asked when the counter has moved, when something of ours was settled, when the next is due, and once a
second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.kept import Subject, counter_of, kept_by_subject, subject
from entrepot.catalog.plans import Plan
from entrepot.catalog.watch import CatalogWatch
from entrepot.chassis.errors import Error
from entrepot.chassis.log import flush_log
from entrepot.chassis.metrics import Meter
from entrepot.chassis.shared import SharedState
from entrepot.connectors.links import Links, Reach
from entrepot.courier import verdict
from entrepot.courier.books import Books
from entrepot.courier.deliver import Deliverer
from entrepot.courier.holds import Holds
from entrepot.courier.lane import LOOK_EVERY_S, Lane
from entrepot.courier.leases import ClockWatch, Leases, OwnLease
from entrepot.courier.metrics import Metrics
from entrepot.errors import StoreUnavailable
from entrepot.identity.revocation import REVOCATIONS, Revocations
from entrepot.ledger.entries import Lease, Memory, Renewal, Settlement
from entrepot.ledger.retention import Retention
from entrepot.settings import Settings
from entrepot.store.engine import Database
from entrepot.wire.clock import Clock

log = logging.getLogger(__name__)

SWEEP_S = 0.25
# Looking for new work is nearly all that an idle courier does: after so long without any, it looks less often.
QUIET_AFTER_S = 2.0
QUIET_POLL_S = 0.05
SECOND_S = 1.0
RECLAIM_S = 5.0
BACKLOG_S = 10.0
PRUNE_S = 60.0
SETTLE_AGAIN_S = 0.5
LAST_WORDS_S = 5.0
"""How long a courier that stops waits for its last settlements."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A catalog and how its upstreams are reached; not in force yet."""

    catalog: Catalog
    reach: Reach


class Courier:
    """One courier. Lives on the thread of *loop*; *shared* has this process registered.

    *stopping*: nothing new is begun. *alone* is the suspect beside which nothing else is. *now* is the database's
    clock.
    """

    def __init__(
        self, settings: Settings, shared: SharedState, database: Database, loop: asyncio.AbstractEventLoop
    ) -> None:
        directory = settings.store.directory
        self.settings = settings
        self.loop = loop
        self.now = database.now
        self.name = f"{socket.gethostname()}:{os.getpid()}"[-80:]
        self.lease_s = settings.courier.lease_s
        self.stopping = False
        self.alone: OwnLease | None = None
        self.catalog = Catalog()
        self.leases = Leases()
        self.books = Books(database, loop)
        self.holds = Holds(self.books, self._chore, self._stir_all)
        self._shared = shared
        self._clock = Clock()
        self.links = Links(shared, self._clock, loop)
        self.deliverer = Deliverer(self.links, self._note, self.now)
        self._watch = CatalogWatch(directory / "snapshot.json", loop, prepare=self._made_ready, enforce=self._enforce)
        self._revocations = Revocations(directory / REVOCATIONS, shared.counter(REVOCATIONS))
        self._meter = Meter(directory / "metrics", f"courier-{os.getpid()}")
        self._metrics = Metrics(self._meter)
        self._lanes: dict[str, Lane] = {}
        self._retired: list[Lane] = []
        self._kept: dict[Subject, tuple[str, ...]] = {}
        self._counter = shared.counter("ledger")
        self._seen = -1
        self._next_look = 0.0
        self._is_looking = False
        self._moved = asyncio.Event()
        self._is_store_away = False
        self._is_asking_for_holds = False
        self._clock_watch = ClockWatch(self.now)
        self._reclaim_from = 0.0
        self._quiet_from = 0.0
        self._chores: set[asyncio.Task[None]] = set()
        self._intervals = {
            self._second: SECOND_S, self._beat: self.lease_s / 3, self._reclaim: min(RECLAIM_S, self.lease_s / 3),
            self._look_at_backlog: BACKLOG_S, self._prune: PRUNE_S,
        }  # fmt: skip
        self._due = dict.fromkeys(self._intervals, 0.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until *stop* is set, and then until what is under way has come to an end, or its time has."""
        self._clock.tick()
        self._refresh_revocations()
        prepared = self._watch.load()
        if prepared is not None:
            self._enforce(prepared)
        self._poll()
        self._sweep()
        await stop.wait()
        await self._finish()

    # -- the clockwork

    def _poll(self) -> None:
        now = time.monotonic()
        count = self._counter.read()
        if count != self._seen:
            self._seen = count
            self._quiet_from = now + QUIET_AFTER_S
            self._stir_all()
        if now >= self._next_look:
            self._look()
        poll_s = self.settings.courier.poll_s
        self.loop.call_later(poll_s if now < self._quiet_from else max(poll_s, QUIET_POLL_S), self._poll)

    def _stir_all(self) -> None:
        self._next_look = 0.0
        for lane in self._lanes.values():
            lane.stir()

    def look_soon(self) -> None:
        """Look at every lane before long: something has changed."""
        self._moved.set()
        if not self._is_looking:
            self._is_looking = True
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        self._is_looking = False
        now = time.monotonic()
        for lane in self._lanes.values():
            try:
                lane.look(now)
            except Exception:  # one upstream must not keep the others from their work
                log.exception("an upstream could not be looked after", extra={"upstream": lane.name})
                lane.look_at = now + LOOK_EVERY_S
        self._next_look = min((lane.look_at for lane in self._lanes.values()), default=now + LOOK_EVERY_S)

    def _sweep(self) -> None:
        try:
            self._work()
        except Exception:  # without sweeps there are no deadlines, no new catalog and no leases
            log.exception("a sweep failed")
        self.loop.call_later(SWEEP_S, self._sweep)

    def _work(self) -> None:
        self._clock.tick()
        now = self._clock.now
        self.links.sweep(now)
        self._watch.refresh()
        self._refresh_revocations()
        for lane in self._lanes.values():
            lane.sounder.sweep(lane.link, now)
        self._retired = [lane for lane in self._retired if not lane.is_idle]
        if self._clock_watch.was_set():
            log.warning("the clock was set, leases are renewed before any is taken over")
            self._reclaim_from = now + self.lease_s
            self._due[self._beat] = 0.0
        self._look_at_holds()
        for chore, due_at in self._due.items():
            if now >= due_at:
                self._due[chore] = now + self._intervals[chore]
                chore()

    def _second(self) -> None:
        flush_log()
        self._meter.flush()
        self._shared.reap()

    def _chore(self, work: Coroutine[Any, Any, object]) -> None:
        """Do *work* on the ledger beside all else; a store that is away is only logged."""
        task = self.loop.create_task(_tolerated(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # -- leases

    def _beat(self) -> None:
        until = self.now() + self.lease_s
        for own in self.leases:
            if not own.lost:
                self.books.renew(Renewal(own.lease.seq, own.lease.token, until), partial(self._renewed, own, until))

    def _renewed(self, own: OwnLease, until: float, result: bool | Error) -> None:
        if result is True:
            own.extend(until, self.lease_s)
        elif result is False and not own.lost and self.leases.holds(own):
            own.lost = True
            log.warning("a lease was lost", extra={"transaction": own.lease.id})

    def _reclaim(self) -> None:
        if not self.stopping and self._clock.now >= self._reclaim_from:
            self._chore(self._take_over())

    async def _take_over(self) -> None:
        # Ours may have run out because the store was away, and are in good hands.
        count = await self.books.reclaim([own.lease for own in self.leases if not own.lost], self.lease_s)
        if count:
            log.warning("leases of others ran out, their work is taken over", extra={"transactions": count})
            self._stir_all()

    def _look_at_holds(self) -> None:
        """Give back what was taken before its upstream was held, as all are during maintenance, and was not sent."""
        ready = [lane for lane in self._lanes.values() if lane.has_ready]
        if ready and not self._is_asking_for_holds:
            self._is_asking_for_holds = True
            self._chore(self._give_back_held(ready))

    async def _give_back_held(self, lanes: Sequence[Lane]) -> None:
        try:
            held = await self.books.held([lane.name for lane in lanes])
        finally:
            self._is_asking_for_holds = False
        for lane in lanes:
            if lane.name in held:
                lane.give_back()

    async def _note(self, own: OwnLease, memory: dict[str, Any], rests_until: float | None) -> bool:
        return await self.books.remember(Memory(own.lease.seq, own.lease.token, memory, rests_until))

    # -- settling

    def end_kept(self, plan: Plan) -> None:
        """End what workers keep of the records that a delivery of *plan* may have changed, whatever came of it."""
        for endpoint in self._kept.get(subject(plan), ()):
            self._shared.counter(counter_of(endpoint)).bump()

    def may_begin(self, own: OwnLease) -> bool:
        """Tell whether *own* may be delivered now: a suspect when it is all that this courier holds.

        All else is given back for it, so that nothing is lost with it but the courier.
        """
        if own.lease.is_suspect and self.alone is None:
            log.warning("couriers were lost with this one, it is tried alone", extra={"transaction": own.lease.id})
            self.alone = own
            for lane in self._lanes.values():
                lane.give_back(but=own)
        return self.alone is None or (own is self.alone and len(self.leases) == 1)

    def _let_go(self, own: OwnLease) -> None:
        self.leases.remove(own)
        self._moved.set()
        if own is self.alone:
            self.alone = None
            self._stir_all()

    def settle(self, own: OwnLease, settlement: Settlement, *, outcome: str = "") -> None:
        """Note what came of *own*; tried again until the store is there, or the lease is somebody else's.

        When the store cannot keep what was said, it is noted without.
        """
        outcome = outcome or (settlement.state if settlement.state == "delivered" else "untried")
        self.books.settle(settlement, partial(self._settled, own, settlement, outcome))

    def _settled(self, own: OwnLease, settlement: Settlement, outcome: str, result: bool | Error) -> None:
        self.note_store(result if isinstance(result, StoreUnavailable) else None)
        if isinstance(result, StoreUnavailable):
            self.loop.call_later(SETTLE_AGAIN_S, partial(self.settle, own, settlement, outcome=outcome))
            return
        if isinstance(result, Error):
            self._settle_bare(own, settlement, outcome)
            return
        self._let_go(own)
        if not result:
            log.warning(
                "a lease was lost, what came of it is dropped",
                extra={"transaction": own.lease.id, "state": settlement.state},
            )
            return
        self._metrics.deliveries.labels(own.lease.upstream, outcome).inc()
        if outcome not in {"delivered", "untried"}:
            log.info("a delivery did not go well", extra=_facts(own.lease, settlement, outcome))
        lane = self._lanes.get(own.lease.upstream)
        if lane is not None:
            lane.stir()
            self.look_soon()

    def _settle_bare(self, own: OwnLease, settlement: Settlement, outcome: str) -> None:
        bare = verdict.bare(settlement)
        if bare == settlement:
            self.abandon(own)
        else:
            self.settle(own, bare, outcome=outcome)

    def abandon(self, own: OwnLease) -> None:
        """Renew *own* no longer, of which nobody can say what came: when it has run out, it is taken over."""
        self._let_go(own)
        log.error("a lease is left to run out", extra={"transaction": own.lease.id})

    def note_store(self, error: Error | None) -> None:
        """Log once that the store takes nothing, and once that it does again; None: it did."""
        if error is not None and not self._is_store_away:
            log.warning("the store is away, it is asked again and again", extra={"reason": str(error)})
        elif error is None and self._is_store_away:
            log.info("the store is back")
        self._is_store_away = error is not None
        self._metrics.store_away.set(self._is_store_away)

    # -- the catalog

    async def _learn_of_holds(self) -> None:
        await self.holds.learn(lambda name: self._lanes[name].standing if name in self._lanes else None)
        self.holds.let_go(self._lanes, self.catalog.clients)

    def _made_ready(self, catalog: Catalog) -> Prepared:
        return Prepared(catalog, self.links.prepare(catalog.upstreams))

    def _enforce(self, prepared: Prepared) -> None:
        self.links.enforce(prepared.reach)
        self.catalog = prepared.catalog
        self._kept = kept_by_subject(prepared.catalog)
        for name in self._lanes.keys() - self.links.links.keys():
            lane = self._lanes.pop(name)
            lane.retire()
            self._retired.append(lane)
        for name, link in self.links.links.items():
            if name not in self._lanes:
                self._lanes[name] = Lane(name, link, self)
            self._lanes[name].link = link
        # Another courier may have held what this one never came upon.
        self._chore(self._learn_of_holds())
        self._stir_all()
        log.info("catalog in force", extra={"revision": self.catalog.revision, "upstreams": len(self._lanes)})

    # -- who is disabled

    def is_disabled(self, lease: Lease) -> bool:
        """Tell whether the client of *lease*, or its partner, is disabled: then nothing of it goes out.

        The ledger may not know of it yet, when its database was away.
        """
        if self._revocations.has_changed():
            self._refresh_revocations()
        return self._revocations.disabled(lease.client, lease.partner) is not None

    def _refresh_revocations(self) -> None:
        try:
            self._revocations.refresh()
        except StoreUnavailable as error:
            log.error("revocations cannot be read, the known ones stay in force", extra={"reason": str(error)})

    # -- chores

    def _look_at_backlog(self) -> None:
        self._chore(self._count_backlog())

    async def _count_backlog(self) -> None:
        backlog = await self.books.backlog()
        self._metrics.observe(backlog)
        if self.catalog.revision:
            self.holds.hold_unknown(backlog.keys() - self._lanes.keys())

    def _prune(self) -> None:
        if not self.stopping:
            self._chore(self._prune_all())

    async def _prune_all(self) -> None:
        ledger = self.settings.ledger
        policy = Retention(ledger.bodies_s, ledger.rows_s, ledger.keys_s, ledger.kept_bytes)
        while await self.books.prune(policy) and not self.stopping:
            pass
        while await self.books.give_back() and not self.stopping:
            pass

    # -- the end

    async def _finish(self) -> None:
        self.stopping = True
        lanes = [*self._lanes.values(), *self._retired]
        for lane in lanes:
            lane.give_back()
        await self._until(lambda: all(lane.is_idle for lane in lanes), self.settings.courier.graceful_timeout_s)
        for lane in lanes:
            lane.break_off()
            await lane.sounder.close()
        await self._until(lambda: not len(self.leases), LAST_WORDS_S)
        if len(self.leases):
            log.warning("leases are left to run out", extra={"transactions": len(self.leases)})
        for chore in tuple(self._chores):
            chore.cancel()
        await self.loop.run_in_executor(None, self.books.close)
        self._revocations.close()
        self._meter.close()
        self.links.close()

    async def _until(self, claim: Callable[[], bool], timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not claim():
                    self._moved.clear()
                    await self._moved.wait()


async def _tolerated(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except Error as error:
        log.warning("the ledger cannot be used now", extra={"reason": str(error)})
    except Exception:  # the edge of a chore: it comes again
        log.exception("a chore failed")


def _facts(lease: Lease, settlement: Settlement, outcome: str) -> dict[str, str]:
    return {
        "operation_id": lease.operation_id,
        "transaction": lease.id,
        "partner": lease.partner,
        "client": lease.client,
        "endpoint": lease.endpoint,
        "upstream": lease.upstream,
        "outcome": outcome,
        "state": settlement.state,
    }
