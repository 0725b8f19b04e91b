"""The direct call of a write that the ledger knows of: by its key, or because it may become a transaction yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Literal

from entrepot.chassis.errors import Applied, Error
from entrepot.connectors.base import Caller, Earlier, Json
from entrepot.connectors.delivery import answer_error, answer_fault
from entrepot.connectors.faults import FaultClass, fault_of
from entrepot.connectors.fence import raise_fence
from entrepot.errors import UpstreamTimeout
from entrepot.gateway.accepted import unsure
from entrepot.gateway.answers import Answer, Outcome
from entrepot.gateway.records import caller_of
from entrepot.gateway.stages.cache import end_kept, store
from entrepot.ledger.entries import Accepted, Admission, Attempt, Finished, GoOn, KeptAnswer, lost_try

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange
    from entrepot.gateway.writes import Write

log = logging.getLogger(__name__)

MARGIN_S = 2.0
"""A call ends this much after its deadline at the latest: deadlines are looked at a few times a second."""
MAX_DETAIL = 500

Phase = Literal["auto", "handed-over", "accepted", "direct", "answered"]


class DirectCall:
    """One call of *write* to its upstream, as the ledger said by *go_on*. It goes on when its caller hangs up.

    Its phases, of which mode ``direct`` knows but the last two::

        auto ──── a good end, or a refusal of the record ────► answered
          │ no end in time, or one that passes
          ▼
        handed-over ── the ledger has it ──► accepted: the caller has its 202, the end is noted in the ledger
          │        ├── it was answered before ──► answered
          │        └── nobody knows ──► accepted: the caller has a 503
          │ the ledger has not taken it, for sure
          ▼
        direct ──── any end ────► answered

    Once it is handed over it sends nothing more, because a courier may; nor once the lease of its key is over, because
    whoever brings the key may. Then it is not handed over either. *_is_sent*: the change itself, not what is looked up
    before it. *_failure* is what it was handed over for,
    *_late* what came of it afterwards.
    """

    __slots__ = (
        "_again", "_begun_at", "_due_at", "_ends_at", "_failure", "_is_sent", "_late", "_memory", "_phase", "_timer",
        "_write",
    )  # fmt: skip

    def __init__(self, write: Write, go_on: GoOn) -> None:
        self._write = write
        self._again = go_on.again
        self._memory = go_on.memory
        self._phase: Phase = "auto" if write.mode == "auto" else "direct"
        self._begun_at = self._ends_at = self._due_at = 0.0
        self._is_sent = False
        self._failure: Outcome | None = None
        self._late: Outcome | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Call the upstream; in mode ``auto`` the caller waits for it as long as its patience lasts."""
        write = self._write
        exchange, gateway = write.exchange, write.exchange.gateway
        earlier = Earlier(self._memory or {}) if self._again else None
        caller = caller_of(exchange, write.new.id, earlier=earlier, remember=self._remember)
        self._begun_at = self._now()
        self._ends_at = self._begun_at + caller.deadline - monotonic() + MARGIN_S
        if self._phase == "auto":
            patience_s = write.rule.endpoint.patience_s
            self._timer = gateway.loop.call_later(patience_s, exchange.proceed, self._out_of_patience)
        task = gateway.loop.create_task(self._try(caller))
        gateway.tasks.add(task)
        task.add_done_callback(gateway.tasks.discard)

    # -- the call

    async def _try(self, caller: Caller) -> None:
        exchange = self._write.exchange
        raise_fence(self._is_void, is_void_look=self._is_anothers)
        outcome: Outcome
        try:
            outcome = await self._write.rule.work(exchange, caller)
        except Error as error:
            outcome = error
        except Exception as exc:  # noqa: BLE001 - the edge of a request
            self._stop_waiting()
            exchange.crash(exc)
            return
        exchange.proceed(self._ended, outcome)

    def _is_void(self) -> bool:
        """Tell whether the change may not be sent any more; otherwise it is sent now."""
        if self._is_anothers():
            return True
        self._is_sent = True
        return False

    def _is_anothers(self) -> bool:
        """Tell whether a courier, or whoever brings the key, may be at work on the write."""
        return self._phase not in {"auto", "direct"} or self._is_lease_over()

    def _now(self) -> float:
        return self._write.exchange.gateway.ledger.now()

    def _is_lease_over(self) -> bool:
        claim = self._write.claim
        return claim is not None and claim.is_over()

    async def _remember(self, facts: Mapping[str, Json]) -> None:
        """Keep *facts* for whoever goes on with this write: a courier, or who brings its key again."""
        self._memory = dict(facts)
        if self._write.claim is not None:
            await self._write.claim.note(self._memory)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- its end

    def _ended(self, outcome: Outcome) -> None:
        """Take what came of the call."""
        self._stop_waiting()
        end_kept(self._write.exchange)
        if self._phase == "handed-over":
            self._late = outcome
        elif self._phase == "accepted":
            self._note_end(outcome)
        elif self._phase != "answered":
            fault = self._fault(outcome)
            may_hand_over = self._phase == "auto" and not self._is_lease_over()
            if may_hand_over and fault is not None and fault.kind != "record":
                self._give_up(outcome, fault)
            else:
                self._answer(outcome, fault)

    def _fault(self, outcome: Outcome) -> FaultClass | None:
        is_relay = self._write.rule.kind == "relay"
        if isinstance(outcome, Error):
            fault = fault_of(outcome)
            # A relay that was not sent says nothing of the try before it; connectors of records have looked.
            return replace(fault, applied="unknown") if is_relay and self._again else fault
        return answer_fault(outcome.status, outcome.fields, again=self._again) if is_relay else None

    def _answer(self, outcome: Outcome, fault: FaultClass | None) -> None:
        """Answer with *outcome*; if the write has a key, when it is kept for those who repeat it."""
        self._phase = "answered"
        exchange, claim = self._write.exchange, self._write.claim
        if isinstance(outcome, Answer):
            outcome = store(exchange, outcome)
        if claim is None:
            _send(exchange, outcome)
            return
        applied: Applied = "yes" if fault is None else fault.applied
        claim.keep(outcome, applied, rest_s=self._rest_after_s(outcome), then=partial(_send, exchange, outcome))

    def _rest_after_s(self, outcome: Outcome) -> float:
        """Return how long the upstream may still be at work after *outcome*, which tells nothing of the work."""
        rule = self._write.rule
        is_at_work = isinstance(outcome, Error) and rule.plan.may_be_at_work(outcome)
        return rule.upstream.settle_s if is_at_work else 0.0

    # -- to the ledger after all

    def _out_of_patience(self) -> None:
        """Hand the write over while its call is still under way."""
        if self._is_lease_over():
            return
        if self._is_sent:
            waited = UpstreamTimeout("no answer while its caller was patient")
            due_at = self._ends_at + self._write.rule.rest_s
            self._hand_over(due_at, "unknown", self._attempt(waited, fault_of(waited)))
        else:
            self._hand_over(self._now(), "unknown" if self._again else "no")

    def _give_up(self, outcome: Outcome, fault: FaultClass) -> None:
        """Hand the write over after a call that came to no good end."""
        self._failure = outcome
        wait_s = self._wait_s(fault)
        if fault.applied != "no":
            wait_s = max(wait_s, self._rest_after_s(outcome))
        is_try = self._is_sent and (fault.applied != "no" or _is_answered(outcome))
        self._hand_over(self._now() + wait_s, fault.applied, self._attempt(outcome, fault) if is_try else None)

    def _wait_s(self, fault: FaultClass) -> float:
        return self._write.rule.endpoint.retry.delay_s(1, retry_after_s=fault.retry_after_s)

    def _hand_over(self, due_at: float, applied: Applied, tried: Attempt | None = None) -> None:
        """Have the ledger take the write over from *due_at* on; *tried* is the try here, if there was one."""
        self._phase, self._due_at = "handed-over", due_at
        write = self._write
        earlier = (lost_try(write.new.id, self._begun_at),) if self._again else ()
        tries = earlier if tried is None else (*earlier, tried)
        write.hand_over(
            due_at, tried=tries, applied=applied, memory=self._memory, is_under_way=self._failure is None,
            done=self._handed_over,
        )  # fmt: skip

    def _handed_over(self, admission: Admission | Error) -> None:
        if isinstance(admission, Error) and admission.applied == "no":
            self._stay(admission)
            return
        # What may have been committed a courier may have.
        self._phase = "accepted" if isinstance(admission, Accepted | Error) else "answered"
        if self._phase == "accepted" and self._late is not None:
            self._note_end(self._late)
        self._write.handed_over(admission)

    def _stay(self, error: Error) -> None:
        """Go on without the ledger, which has not taken the write: its answer is what comes of the call."""
        self._phase = "direct"
        outcome = self._failure if self._late is None else self._late
        if outcome is None:
            return
        fault = self._fault(outcome)
        if fault is not None and fault.applied == "unknown":
            raise unsure(error)
        self._answer(outcome, fault)

    def _note_end(self, outcome: Outcome) -> None:
        """Note how the call ended after the write was accepted: when it ended well, nobody else need send it.

        What did not go well is left to a courier, which looks what became of it unless it was not applied, for sure.
        """
        fault, kept, again_at = self._fault(outcome), None, None
        if fault is None and isinstance(outcome, Answer):
            kept = KeptAnswer(outcome.status, outcome.fields, outcome.body if outcome.data is None else outcome.data)
        elif fault is not None and fault.applied == "no":
            again_at = self._now() + (0.0 if fault.kind == "record" else self._wait_s(fault))
        end = Finished(self._write.new.id, self._attempt(outcome, fault), kept, self._due_at, again_at)
        self._write.exchange.gateway.ledger.finish(end, _noted)

    def _attempt(self, outcome: Outcome, fault: FaultClass | None) -> Attempt:
        """Return the call as a try, for the record."""
        gateway, now = self._write.exchange.gateway, self._now()
        if fault is None:
            return Attempt(gateway.name, self._begun_at, now, "delivered", outcome.status)
        if isinstance(outcome, Answer):
            outcome = answer_error(self._write.rule.upstream.name, outcome.status, fault)
        detail = str(outcome)[:MAX_DETAIL]
        return Attempt(gateway.name, self._begun_at, now, fault.kind, outcome.status, outcome.code, detail)


def _is_answered(outcome: Outcome) -> bool:
    """Tell whether the upstream said something: an error that the connection made has it for its cause."""
    return isinstance(outcome, Answer) or not isinstance(outcome.__cause__, ConnectionError)


def _send(exchange: Exchange, outcome: Outcome) -> None:
    if isinstance(outcome, Error):
        exchange.fail(outcome)
    else:
        exchange.answer(outcome)


def _noted(result: bool | Error) -> None:
    if isinstance(result, Error):
        log.warning("the end of a write that was handed over could not be noted", extra={"reason": str(result)})
