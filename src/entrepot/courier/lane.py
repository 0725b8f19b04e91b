"""What a courier knows of one upstream: how much work to ask for, when, and what it holds for it.

Work is asked for as there are places, and a little ahead, so that a place that comes free need not wait for a commit.
Nothing is asked for while the upstream is left alone (breaker) or held; then one delivery goes first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from functools import partial
from random import random
from typing import TYPE_CHECKING

from entrepot.catalog.plans import Plan, plan_from
from entrepot.chassis.errors import Error
from entrepot.connectors.delivery import refused_alone
from entrepot.connectors.faults import fault_of
from entrepot.connectors.link import Link
from entrepot.courier import verdict
from entrepot.courier.books import Found
from entrepot.courier.deliver import Answered
from entrepot.courier.leases import OwnLease
from entrepot.courier.sounder import Sounder
from entrepot.courier.standing import Standing
from entrepot.courier.verdict import Tried
from entrepot.ledger.entries import ClaimRequest, KeptAnswer, Lease, Settlement

if TYPE_CHECKING:
    from entrepot.courier.courier import Courier

log = logging.getLogger(__name__)

MOST_AT_ONCE = 64
LOOK_EVERY_S = 1.0
SENDING_S = 1.0
"""Beside the time to connect, by which a lease must last when its request goes out."""

_LEVELS = {"record": logging.WARNING, "transient": logging.INFO, "upstream": logging.INFO, "untried": logging.DEBUG}


class Lane:
    """The deliveries of one courier to the upstream *name*, by the *link* in force.

    *look_at* (``time.monotonic``) is when to ask for work.
    """

    def __init__(self, name: str, link: Link, courier: Courier) -> None:
        self.name = name
        self.link = link
        self.look_at = 0.0
        self.standing = Standing()
        self.sounder = Sounder(courier.loop, self._back)
        self._courier = courier
        self._ready: deque[OwnLease] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = False
        self._stirred = False
        self._retired = False
        self._after = ""
        self._back_at = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is under way."""
        return not (self._tasks or self._ready or self._asking)

    @property
    def has_ready(self) -> bool:
        """Whether work was taken and nothing was sent of it yet, for there is no place."""
        return bool(self._ready)

    # -- asking for work

    def stir(self) -> None:
        """Ask for work at the next look: there may be some."""
        self.look_at = 0.0
        self._stirred = True

    def look(self, now: float) -> None:
        """Deliver what is ready, and ask for more if it is time and there is room."""
        self._pump(now)
        if self._asking or self._courier.alone is not None or now < self.look_at:
            return
        limit = min(MOST_AT_ONCE, self._room(now))
        if limit <= 0:
            self.look_at = now + min(LOOK_EVERY_S, self.link.breaker.open_for_s(now) or LOOK_EVERY_S)
            return
        self._asking = True
        self._stirred = False
        courier = self._courier
        request = ClaimRequest(self.name, limit, courier.name, courier.lease_s, self._after)
        courier.books.claim(request, self._found)

    def _room(self, now: float) -> int:
        """Return how many leases are wanted beside those that are ready."""
        free = self._free(now)
        if free <= 0 or self._is_careful(now):
            return free - len(self._ready)
        return free + self._ahead - len(self._ready)

    @property
    def _ahead(self) -> int:
        return max(1, min(MOST_AT_ONCE, self.link.upstream.concurrency // 4))

    def _free(self, now: float) -> int:
        """Return how many deliveries may begin. A few may wait for a place, so that others cannot keep all of them."""
        is_held = self.standing.held_until > self._courier.now()
        if is_held or self._courier.stopping or self.link.breaker.open_for_s(now):
            return 0
        running = len(self._tasks)
        if self._is_careful(now):
            return 1 - running
        most = self.link.upstream.concurrency
        return max(most - max(running, self.link.places.in_use()), max(1, most // 8) - running)

    def _is_careful(self, now: float) -> bool:
        """Tell whether one delivery must go well before others follow."""
        return self.standing.on_trial or self.link.breaker.state(now) != "closed"

    def _found(self, found: Found | Error) -> None:
        self._asking = False
        now = time.monotonic()
        self._courier.note_store(found if isinstance(found, Error) else None)
        if isinstance(found, Error):
            self.look_at = now + LOOK_EVERY_S
            return
        leases, due_at = found
        for lease in leases:
            self._take(lease)
        if self._retired or self._courier.stopping:
            self.give_back()
            self._courier.look_soon()
            return
        if self._courier.alone is not None:
            self.give_back(but=self._courier.alone)
        if leases:
            self._after = leases[-1].partner
        if not self._stirred:
            wait_s = LOOK_EVERY_S if due_at is None else min(LOOK_EVERY_S, due_at - self._courier.now())
            # What is due, and was not to be had, is behind something that nobody will announce.
            self.look_at = now if leases else now + (wait_s if wait_s > 0 else LOOK_EVERY_S)
        self._courier.look_soon()

    def _take(self, lease: Lease) -> None:
        link, courier = self.link, self._courier
        margin_s = min(SENDING_S + link.upstream.connect_timeout_s, courier.lease_s / 2)
        own = OwnLease(lease, lease_s=courier.lease_s, margin_s=margin_s, wall=courier.now)
        courier.leases.add(own)
        self._ready.append(own)

    # -- delivering

    def _pump(self, now: float) -> None:
        while self._ready and self._free(now) > 0 and self._courier.may_begin(self._ready[0]):
            self._try_to_begin(self._ready.popleft())
        if self._ready and (self.standing.on_trial or self.link.breaker.open_for_s(now)):
            self.give_back()

    def _try_to_begin(self, own: OwnLease) -> None:
        try:
            self._begin(own)
        except Exception:  # the edge of a delivery: the next one may go well
            log.exception("a delivery could not begin", extra=_facts(own))
            self._courier.abandon(own)

    def _begin(self, own: OwnLease) -> None:
        lease, now = own.lease, self._courier.now()
        if lease.client not in self._courier.catalog.clients:
            self._courier.holds.hold_client(lease.client)
            self._courier.settle(own, verdict.given_back(own, now))
            return
        if self._courier.is_disabled(lease):
            self._courier.settle(own, verdict.given_back(own, now + LOOK_EVERY_S))
            return
        try:
            plan = plan_from(lease.plan)
        except ValueError as exc:
            log.error("work cannot be read, it is held", extra={"transaction": lease.id, "reason": str(exc)})
            self._courier.settle(own, verdict.held(lease, "upstream"))
            return
        rest = max(self.standing.rests_until(lease.plan.digest), lease.rests_until)
        if rest > now:
            self._courier.settle(own, verdict.given_back(own, rest))
            return
        task = self._courier.loop.create_task(self._deliver(own, plan))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, own))

    def _ended(self, own: OwnLease, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a delivery could not be settled", exc_info=error, extra=_facts(own))
            self._courier.abandon(own)
        self.look_at = 0.0
        self._courier.look_soon()

    async def _deliver(self, own: OwnLease, plan: Plan) -> None:
        started_at = self._courier.now()
        answer: KeptAnswer | None = None
        error: Error | None = None
        try:
            answer = await self._courier.deliverer.deliver(own, plan, self.link)
        except Answered as refusal:
            error, answer = refusal.error, refusal.answer
        except Error as raised:
            error = raised
        except asyncio.CancelledError:
            self._broken_off(own, plan)
            return
        except Exception:  # the edge of a delivery: the next one may go well
            log.exception("a delivery failed", extra=_facts(own))
            error = Error()
            error.applied = "unknown" if own.sent else "no"
        if own.sent:
            self._courier.end_kept(plan)
        tried = Tried(self._courier.name, started_at, self._courier.now())
        if error is None and answer is not None:
            self._went_well(own)
            self.link.pace.note(tried.ended_at - started_at)
            self._courier.settle(own, verdict.delivered(own.lease, answer, tried))
        elif error is not None:
            self._failed(own, plan, error, tried, answer)

    def _failed(self, own: OwnLease, plan: Plan, error: Error, tried: Tried, answer: KeptAnswer | None) -> None:
        kind = fault_of(error).kind
        now = tried.ended_at
        lease = own.lease
        # Whose answer came is a relay: what it sends is the partner's choice.
        is_alone = (
            kind == "upstream" and answer is not None and self.standing.is_alone(lease.seq, lease.plan.digest, now)
        )
        if is_alone:
            error, kind = refused_alone(error), "transient"
        # What began before the upstream came back failed because it was away, and need not wait.
        share = (lambda: 0.0) if tried.started_at < self._back_at else random
        settlement = verdict.failed(
            own, plan, error, tried,
            settle_s=self.link.upstream.settle_s, answer=answer if kind == "record" else None, random=share,
        )  # fmt: skip
        if kind == "upstream":
            settlement = self._refused(own, error, settlement, now)
        elif kind == "record":
            self._went_well(own)
        elif own.sent and not is_alone:
            self._alarmed(error, said=answer is not None)
        outcome = kind if own.sent or kind == "record" else "untried"
        facts = {**_facts(own), "fault": kind, "code": error.code, "state": settlement.state}
        log.log(_LEVELS[outcome], "a delivery failed: %s", error, extra=facts)
        self._courier.settle(own, settlement, outcome=outcome)

    def _went_well(self, own: OwnLease) -> None:
        self.sounder.all_well()
        if self.standing.took(own.lease.plan.digest, self._courier.now()):
            self._courier.holds.release(self.name)

    def _refused(self, own: OwnLease, error: Error, settlement: Settlement, now: float) -> Settlement:
        """Hold the upstream, or what this plan is of, and return how the lease is given back until then."""
        digest = own.lease.plan.digest
        until = self.standing.refused(digest, now)
        self._courier.deliverer.forget(digest)
        if until is not None:
            self._courier.holds.hold(self.name, str(error), until)
        return verdict.until(settlement, self.standing.rests_until(digest))

    def _alarmed(self, error: Error, *, said: bool) -> None:
        """Sound the upstream, unless it answered and said when to come again."""
        wait_s = (error.retry_after_s or 0.0) if said else 0.0
        self.sounder.alarm(time.monotonic() + wait_s)

    def _back(self) -> None:
        self._back_at = self._courier.now()
        log.info("upstream is back", extra={"upstream": self.name})
        self._courier.holds.hasten(self.name)

    # -- the end

    def retire(self) -> None:
        """Take no more work; what is under way goes on."""
        self._retired = True
        self.give_back()

    def give_back(self, *, but: OwnLease | None = None) -> None:
        """Give back what nothing was sent of, all but *but*."""
        ready, self._ready = self._ready, deque(own for own in self._ready if own is but)
        for own in ready:
            if own is not but:
                self._courier.settle(own, verdict.given_back(own, self._courier.now()))

    def break_off(self) -> None:
        """Give up waiting for what is under way; its outcome is unknown."""
        for task in self._tasks:
            task.cancel()

    def _broken_off(self, own: OwnLease, plan: Plan) -> None:
        rest_s = self.link.upstream.settle_s if own.sent and plan.may_be_at_work(None) else 0.0
        self._courier.settle(own, verdict.broken_off(own, self._courier.now(), rest_s))


def _facts(own: OwnLease) -> dict[str, str]:
    lease = own.lease
    return {"transaction_id": lease.id, "operation_id": lease.operation_id, "upstream": lease.upstream}
