"""Writes that the ledger has a part in: those with an Idempotency-Key, and those of the modes ``queue`` and ``auto``.

A write goes one of these ways::

    queue                     accept ──► 202
    auto, nothing in the way  accept ──► go on ──► the upstream ──► its answer
                                                        └─ no end in time ──► hand over ──► 202
    auto, something is        accept ──► 202
    direct, with a key        accept ──► go on ──► the upstream ──► keep the answer ──► the answer

It goes on when its caller hangs up. Keyless direct writes do not come here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Literal

from entrepot.chassis.envelope import envelope_bytes
from entrepot.chassis.errors import Applied, Error
from entrepot.connectors.base import Caller, Earlier, Json
from entrepot.connectors.delivery import answer_fault
from entrepot.connectors.faults import FaultClass, fault_of
from entrepot.errors import (
    IdempotencyInWork,
    IdempotencyMismatch,
    StoreUnavailable,
    TooMuchQueued,
    UpstreamTimeout,
)  # fmt: skip
from entrepot.gateway.answers import JSON_TYPE, Answer, problem_answer
from entrepot.gateway.fence import raise_fence
from entrepot.gateway.idempotency import key_digest, key_of, request_digest, require_key
from entrepot.gateway.operations import LATER
from entrepot.gateway.preferences import APPLIED, wants_async
from entrepot.gateway.records import caller_of
from entrepot.gateway.stages.cache import end_kept, store
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    Admission,
    AnswerOf,
    Attempt,
    Claimed,
    Finished,
    GoOn,
    KeptAnswer,
    LeaseOf,
    MemoryOf,
    NewTransaction,
    Refused,
    Replayed,
    new_id,
)
from entrepot.ledger.states import State

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange
    from entrepot.gateway.rules import WriteRule

log = logging.getLogger(__name__)

REPLAYED = b"idempotency-replayed: true\r\n"
MARGIN_S = 2.0
"""A call ends this much after its deadline at the latest: deadlines are looked at a few times a second."""
SOON_S = 1.0
HELD_S = 60.0
"""When to look again for what is held: nobody knows for sure when that ends."""
FULL_S = 30.0
"""What a partner with too much waiting is told to wait."""

_NEVER_KEPT = frozenset({401, 403, 408, 429})

When = Literal["always", "behind", "never"]
Outcome = Answer | Error


def begin(exchange: Exchange) -> Write | None:
    """Return what the ledger has to do with the write of *exchange*; None: nothing.

    Raises BadRequest for a key that is none, or that is missing where one is required.
    """
    rule = exchange.operation.rule
    if rule is None:
        return None
    key = key_of(exchange.fields)
    if key is None and rule.needs_key:
        raise require_key()
    # A condition is about the record of this moment: no later one will do.
    is_direct = rule.mode == "direct" or b"if-match" in exchange.fields
    if key is None and is_direct:
        return None
    return Write(exchange, rule, key, "direct" if is_direct else rule.mode)


class Write:
    """One write of a partner on its way. Lives on the loop's thread; every step of it is guarded by the exchange."""

    __slots__ = (
        "_again", "_claimed", "_ends_at", "_exchange", "_is_async", "_is_handed", "_is_put_by", "_is_sent", "_key",
        "_late", "_memory", "_mode", "_new", "_rule", "_timer",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, rule: WriteRule, key: str | None, mode: str) -> None:
        self._exchange = exchange
        self._rule = rule
        self._key = key
        self._mode = mode
        self._is_async = mode != "direct" and wants_async(exchange.fields.get(b"prefer"))
        self._claimed: Claimed | None = None
        self._new: NewTransaction = LATER
        self._again = False
        self._memory: dict[str, Json] | None = None
        self._ends_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_handed = self._is_put_by = self._is_sent = False
        self._late: Outcome | None = None

    def start(self) -> None:
        """Send the write its way. Raises what can be found wrong with it before anything is accepted."""
        exchange, rule = self._exchange, self._rule
        rule.check(exchange)
        now = time()
        self._new = self._transaction(now)
        if self._key is not None:
            self._claimed = Claimed(
                digest=key_digest(exchange.principal.client.name, rule.endpoint.name, self._key),
                request=request_digest(exchange),
                leased_until=now + rule.upstream.timeout_s + MARGIN_S + self._rest_s(),
                expires_at=now + exchange.gateway.settings.ledger.keys_s,
            )
        item = Acceptance(self._new, exchange.principal.quota, self._claimed, self._when())
        exchange.gateway.ledger.accept(item, self._guarded(self._admitted))

    def _transaction(self, now: float) -> NewTransaction:
        exchange, rule = self._exchange, self._rule
        principal = exchange.principal
        return NewTransaction(
            id=new_id(now),
            partner=principal.partner.name,
            client=principal.client.name,
            endpoint=rule.endpoint.name,
            upstream=rule.endpoint.upstream,
            kind=rule.kind,
            operation_id=exchange.operation_id.decode("ascii"),
            plan=rule.plan,
            target=(b"%b %b" % (exchange.method, exchange.target)).decode("latin-1"),
            facts={"values": principal.values, **rule.facts(exchange)},
            body=exchange.body,
            order_key=rule.order(exchange),
            accepted_at=now,
            expires_at=now + rule.endpoint.retry.age_s,
            due_at=now,
        )

    def _rest_s(self) -> float:
        """Return how long after a lost call nobody may repeat it directly; in mode ``auto`` the ledger waits."""
        return self._rule.upstream.settle_s if self._rule.rests and self._mode == "direct" else 0.0

    def _when(self) -> When:
        if self._mode == "direct":
            return "never"
        is_open = self._exchange.operation.link.breaker.state(monotonic()) == "open"
        return "always" if self._mode == "queue" or self._is_async or is_open else "behind"

    # -- what the ledger says

    def _admitted(self, admission: Admission | Error) -> None:
        if isinstance(admission, Accepted):
            self._accepted(admission, "queued", SOON_S)
        elif isinstance(admission, GoOn):
            self._new = replace(self._new, id=admission.id)
            self._again, self._memory = admission.again, admission.memory
            if admission.again and self._mode == "auto" and self._rule.rests:
                self._put_by(time() + self._rule.upstream.settle_s)
            else:
                self._go()
        elif isinstance(admission, Replayed):
            self._replay(admission)
        elif isinstance(admission, Refused):
            raise _refusal(admission, self._exchange.principal.partner.name)
        elif self._mode == "auto" and self._key is None and self._new.order_key is None and not self._is_async:
            # Nothing it could overtake, and no key to be noted: it needs the ledger only if it is not answered.
            self._go()
        else:
            raise _unsure(admission)

    def _accepted(self, accepted: Accepted, state: State, expected_s: float) -> None:
        exchange = self._exchange
        if not accepted.replayed:
            exchange.gateway.metrics.accepted.labels(self._rule.endpoint.name).inc()
        expected_s = max(expected_s, exchange.operation.link.breaker.open_for_s(monotonic()))
        if accepted.held_until is not None:
            expected_s = max(expected_s, min(accepted.held_until - time(), HELD_S))
        fields = b"%blocation: /transactions/%b\r\nretry-after: %d\r\n%b%b" % (
            JSON_TYPE,
            accepted.id.encode("ascii"),
            max(1, round(expected_s)),
            REPLAYED if accepted.replayed else b"",
            APPLIED if self._is_async else b"",
        )
        data = b'{"transaction":"%b","state":"%b"}' % (accepted.id.encode("ascii"), state.encode("ascii"))
        exchange.answer(Answer(202, fields, data=data))

    def _replay(self, replayed: Replayed) -> None:
        answer = replayed.answer
        self._exchange.answer(Answer(answer.status, answer.fields + REPLAYED, answer.body))

    # -- directly

    def _go(self) -> None:
        """Call the upstream; in mode ``auto`` the caller waits for it as long as its patience lasts."""
        gateway = self._exchange.gateway
        earlier = Earlier(self._memory or {}) if self._again else None
        caller = caller_of(self._exchange, self._new.id, earlier=earlier, remember=self._remember)
        self._ends_at = time() + caller.deadline - monotonic() + MARGIN_S
        if self._mode == "auto":
            patience_s = self._rule.endpoint.patience_s
            self._timer = gateway.loop.call_later(patience_s, self._guarded(self._out_of_patience))
        task = gateway.loop.create_task(self._try(caller))
        gateway.tasks.add(task)
        task.add_done_callback(gateway.tasks.discard)

    async def _try(self, caller: Caller) -> None:
        raise_fence(self._is_void)
        outcome: Outcome
        try:
            outcome = await self._rule.work(self._exchange, caller)
        except Error as error:
            outcome = error
        except Exception as exc:  # noqa: BLE001 - the edge of a request
            if self._timer is not None:
                self._timer.cancel()
            self._exchange.crash(exc)
            return
        self._exchange.proceed(self._ended, outcome)

    def _is_void(self) -> bool:
        """Tell whether nothing more may be sent; otherwise it is sent now."""
        if self._is_handed:
            return True
        self._is_sent = True
        return False

    async def _remember(self, facts: Mapping[str, Json]) -> None:
        """Keep *facts* for whoever goes on with this write: the holder of its key, or a courier."""
        self._memory = dict(facts)
        if self._claimed is None:
            return
        kept: asyncio.Future[None] = self._exchange.gateway.loop.create_future()
        item = MemoryOf(self._claimed.digest, self._memory)
        self._exchange.gateway.ledger.keep_memory(item, lambda result: _settle(kept, result))
        await kept

    def _ended(self, outcome: Outcome) -> None:
        """Take what came of the call."""
        if self._timer is not None:
            self._timer.cancel()
        end_kept(self._exchange)
        if self._is_handed:
            self._late = outcome
            self._finish()
            return
        fault = self._fault(outcome)
        if self._mode == "auto" and fault is not None and fault.kind != "record":
            self._hand_over(outcome, fault)
        else:
            self._answer(outcome, fault)

    def _fault(self, outcome: Outcome) -> FaultClass | None:
        if isinstance(outcome, Error):
            return fault_of(outcome)
        return answer_fault(outcome.status, outcome.fields, again=self._again) if self._rule.kind == "relay" else None

    # -- its answer

    def _answer(self, outcome: Outcome, fault: FaultClass | None) -> None:
        """Answer with *outcome*; if the write has a key, when it is kept for those who repeat it."""
        exchange = self._exchange
        if isinstance(outcome, Answer):
            outcome = store(exchange, outcome)
        if self._claimed is None:
            _send(exchange, outcome)
            return
        applied: Applied = "yes" if fault is None else fault.applied
        if _is_final(outcome.status, applied):
            item = AnswerOf(self._claimed.digest, _whole(exchange, outcome))
        elif applied == "no":
            item = AnswerOf(self._claimed.digest, None)
        else:
            lease = LeaseOf(self._claimed.digest, time() + self._settles_s(outcome))
            exchange.gateway.ledger.let_go(lease, self._guarded(partial(self._kept, outcome)))
            return
        exchange.gateway.ledger.keep_answer(item, self._guarded(partial(self._kept, outcome)))

    def _kept(self, outcome: Outcome, result: Error | None) -> None:
        if result is not None:
            log.warning(
                "what came of a write could not be kept for its repetition",
                extra={"operation_id": self._new.operation_id, "reason": str(result)},
            )
        _send(self._exchange, outcome)

    # -- to the ledger after all

    def _out_of_patience(self) -> None:
        """Put the write by while its call is still under way."""
        rule = self._rule
        if self._is_sent:
            self._put_by(self._ends_at + (rule.upstream.settle_s if rule.rests else 0.0))
        else:
            self._put_by(time())

    def _hand_over(self, outcome: Outcome, fault: FaultClass) -> None:
        """Put the write by after a call that came to no good end."""
        self._late = outcome
        wait_s = self._rule.endpoint.retry.delay_s(1, retry_after_s=fault.retry_after_s)
        in_doubt = fault.applied != "no"
        if in_doubt:
            wait_s = max(wait_s, self._settles_s(outcome))
        self._put_by(time() + wait_s, in_doubt=in_doubt)

    def _settles_s(self, outcome: Outcome) -> float:
        """Return how long the upstream may still be at work after *outcome*, which tells nothing of the work."""
        rule = self._rule
        rests = rule.is_guarded or rule.makes_lines or (rule.rests and isinstance(outcome, UpstreamTimeout))
        return rule.upstream.settle_s if rests else 0.0

    def _put_by(self, due_at: float, *, in_doubt: bool | None = None) -> None:
        """Put the write into the ledger, to be tried from *due_at* on: nothing more is sent from here."""
        self._is_handed = True
        if in_doubt is None:
            in_doubt = self._is_sent
        in_doubt = in_doubt or self._again
        self._new = replace(
            self._new,
            state="waiting" if in_doubt else "queued",
            applied="unknown" if in_doubt else "no",
            attempts=int(in_doubt),
            memory=self._memory,
            due_at=due_at,
        )
        item = Acceptance(self._new, self._exchange.principal.quota, self._claimed, "handed-over")
        self._exchange.gateway.ledger.accept(item, self._guarded(self._handed))

    def _handed(self, admission: Admission | Error) -> None:
        if isinstance(admission, Accepted):
            end_kept(self._exchange)
            self._is_put_by = True
            self._finish()
            self._accepted(admission, self._new.state, self._new.due_at - time() + SOON_S)
        elif isinstance(admission, Replayed):
            self._replay(admission)
        elif isinstance(admission, Error):
            self._stay(admission)
        else:
            raise TypeError(f"a write that was handed over cannot be {admission!r}")

    def _finish(self) -> None:
        """Note that the call, which went on after the write was put by, ended well: nobody else need send it.

        What did not go well is left to a courier, which looks what became of it.
        """
        late = self._late
        if not self._is_put_by or not isinstance(late, Answer) or self._fault(late) is not None:
            return
        ended_at = time()
        begun_at = ended_at - (monotonic() - self._exchange.started)
        name = f"{socket.gethostname()}:{os.getpid()}"[-80:]
        kept = KeptAnswer(late.status, late.fields, late.body if late.data is None else late.data)
        tried = Attempt(name, begun_at, ended_at, "delivered", late.status)
        self._exchange.gateway.ledger.finish(Finished(self._new.id, kept, tried), _noted)

    def _stay(self, error: Error) -> None:
        """Go on without the ledger, which cannot take the write: its answer is what comes of the call."""
        self._is_handed, self._mode = False, "direct"
        outcome = self._late
        if outcome is None:
            return
        fault = self._fault(outcome)
        if fault is not None and fault.applied == "unknown":
            raise _unsure(error)
        self._answer(outcome, fault)

    def _guarded(self, step: Callable[..., None]) -> Callable[..., None]:
        """Return *step* as a callback whose errors are the answer."""
        return lambda *given: self._exchange.proceed(step, *given)


def _is_final(status: int, applied: Applied) -> bool:
    """Tell whether an answer is the one that repetitions get, too."""
    if status >= 500 or status in _NEVER_KEPT:
        return False
    return status < 400 or applied != "unknown"


def _noted(result: bool | Error) -> None:
    if isinstance(result, Error):
        log.warning("the end of a write that was put by could not be noted", extra={"reason": str(result)})


def _whole(exchange: Exchange, outcome: Outcome) -> KeptAnswer:
    operation_id = exchange.operation_id
    answer = problem_answer(outcome, operation_id.decode("ascii")) if isinstance(outcome, Error) else outcome
    body = answer.body if answer.data is None else envelope_bytes(operation_id, answer.data, answer.meta)
    return KeptAnswer(answer.status, answer.fields, body)


def _send(exchange: Exchange, outcome: Outcome) -> None:
    if isinstance(outcome, Error):
        exchange.fail(outcome)
    else:
        exchange.answer(outcome)


def _settle(future: asyncio.Future[None], result: Error | None) -> None:
    if future.done():
        return
    if result is None:
        future.set_result(None)
    else:
        future.set_exception(result)


def _refusal(refused: Refused, partner: str) -> Error:
    if refused.why == "in-work":
        return IdempotencyInWork("the first request with this key has no answer yet", retry_after_s=SOON_S)
    if refused.why == "mismatch":
        return IdempotencyMismatch("this key was sent with another request before; take a new key for a new request")
    what = "transactions" if refused.why == "too-many" else "bytes"
    return TooMuchQueued(f"as many {what} of {partner} wait to be delivered as may", retry_after_s=FULL_S)


def _unsure(error: Error) -> StoreUnavailable:
    """Return the error of a write whose commit failed: nobody knows whether it is on disk."""
    told = StoreUnavailable(
        "the write may have been accepted: repeat it with the same Idempotency-Key",
        retry_after_s=error.retry_after_s or 5.0,
    )
    told.__cause__ = error
    return told
