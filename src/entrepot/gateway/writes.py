"""Writes that the ledger has a part in: those with an Idempotency-Key, and those of the modes ``queue`` and ``auto``.

A write goes one of these ways::

    queue                     accept ──► 202
    auto, nothing in the way  accept ──► go on ──► the upstream ──► its answer
                                                        └─ no end in time ──► hand over ──► 202
    auto, something is        accept ──► 202
    direct, with a key        accept ──► go on ──► the upstream ──► keep the answer ──► the answer
    If-Match, nothing is      accept ──► go on ──► the upstream ──► its answer
    If-Match, something is    accept ──► 409, or 503

What goes on is a ``DirectCall``. Keyless direct writes do not come here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Literal

from entrepot.chassis.errors import Applied, Error
from entrepot.connectors.base import Json
from entrepot.gateway.accepted import accepted_answer, refusal, unstored, unsure
from entrepot.gateway.direct import MARGIN_S, DirectCall
from entrepot.gateway.idempotency import KeyClaim, key_of, replayed_answer, require_key
from entrepot.gateway.operations import LATER
from entrepot.gateway.preferences import wants_async
from entrepot.gateway.stages.cache import end_kept
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    Admission,
    Attempt,
    GoOn,
    NewTransaction,
    Refused,
    Replayed,
    new_id,
)

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange
    from entrepot.gateway.rules import WriteRule

When = Literal["always", "behind", "alone", "never", "handed-over"]


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
    if key is None and rule.mode == "direct":
        return None
    # A condition is about the record of this moment: no later one will do.
    return Write(exchange, rule, key, "direct" if b"if-match" in exchange.fields else rule.mode)


class Write:
    """One write of a partner, and what the ledger says of it. Lives on the loop's thread.

    *mode* is its write mode, *new* the transaction that it is or may become, *claim* that of its key, if it has one.
    *transaction* is the id that its caller was told, empty when that was none.
    The exchange guards every step: an error that one raises is the answer.
    """

    __slots__ = ("_is_async", "_key", "claim", "exchange", "mode", "new", "rule", "transaction")

    def __init__(self, exchange: Exchange, rule: WriteRule, key: str | None, mode: str) -> None:
        self.exchange = exchange
        self.rule = rule
        self.mode = mode
        self.claim: KeyClaim | None = None
        self.new: NewTransaction = LATER
        self.transaction = ""
        self._key = key
        self._is_async = mode != "direct" and wants_async(exchange.fields.get(b"prefer"))

    def start(self) -> None:
        """Send the write its way. Raises what can be found wrong with it before anything is accepted."""
        self.rule.check(self.exchange)
        now = self.exchange.gateway.ledger.now()
        self.new = _transaction(self.exchange, self.rule, now)
        if self._key is not None:
            # After a call that was lost nobody may repeat it directly at once; in mode ``auto`` the ledger waits.
            rest_s = self.rule.rest_s if self.mode == "direct" else 0.0
            leased_until = now + self.rule.upstream.timeout_s + MARGIN_S + rest_s
            self.claim = KeyClaim(self.exchange, self._key, leased_until=leased_until)
        self._ask(self._when(), self._admitted)

    def hand_over(
        self,
        due_at: float,
        *,
        tried: tuple[Attempt, ...],
        applied: Applied,
        memory: dict[str, Json] | None,
        is_under_way: bool,
        done: Callable[[Admission | Error], None],
    ) -> None:
        """Have the ledger take the write over, to be tried from *due_at* on, and call *done* with what it says.

        *tried* are the tries so far and *applied* what is known of all of them; *memory* is what was noted before them.
        When the last *is_under_way* still, nothing lets it be tried before *due_at*.
        """
        self.new = replace(
            self.new,
            state="waiting" if tried else "queued",
            applied=applied,
            tried=tried,
            memory=memory,
            due_at=due_at,
            is_under_way=is_under_way,
        )
        self._ask("handed-over", done)

    def handed_over(self, admission: Admission | Error) -> None:
        """Answer as the ledger says, which was to take the write over. Raises StoreUnavailable when it could not."""
        if isinstance(admission, Accepted):
            end_kept(self.exchange)
            self._accepted(admission)
        elif isinstance(admission, Replayed):
            self._replay(admission)
        elif isinstance(admission, Error):
            raise unsure(admission)
        else:
            raise TypeError(f"a write that was handed over cannot be {admission!r}")

    def _ask(self, when: When, done: Callable[[Admission | Error], None]) -> None:
        claimed = None if self.claim is None else self.claim.claimed
        item = Acceptance(self.new, self.exchange.principal.quota, claimed, when)
        self.exchange.gateway.ledger.accept(item, partial(self.exchange.proceed, done))

    def _when(self) -> When:
        if self.mode == "direct":
            # What its condition has made direct must not overtake what was queued.
            return "never" if self.rule.mode == "direct" else "alone"
        is_open = self.exchange.operation.link.breaker.state(monotonic()) == "open"
        return "always" if self.mode == "queue" or self._is_async or is_open else "behind"

    def _admitted(self, admission: Admission | Error) -> None:
        if isinstance(admission, Accepted):
            self._accepted(admission)
        elif isinstance(admission, Replayed):
            self._replay(admission)
        elif isinstance(admission, Refused):
            raise refusal(admission, self.exchange.principal.partner.name, self.exchange.gateway.ledger.now())
        elif isinstance(admission, GoOn):
            self._go_on(admission)
        elif admission.applied == "no" and self._needs_no_ledger():
            self._go_on(GoOn(self.new.id))
        else:
            raise unstored(admission)

    def _needs_no_ledger(self) -> bool:
        """Tell whether there is nothing that it could overtake, and no key to be noted.

        Then the ledger is needed only if the upstream does not answer; unless it has the write already.
        """
        return self.mode == "auto" and self._key is None and self.new.order_key is None and not self._is_async

    def _accepted(self, accepted: Accepted) -> None:
        exchange = self.exchange
        self.transaction = accepted.id
        if not accepted.replayed:
            exchange.gateway.metrics.accepted.labels(self.rule.endpoint.name).inc()
        link, now = exchange.operation.link, exchange.gateway.ledger.now()
        exchange.answer(accepted_answer(accepted, link, now, is_async=self._is_async))

    def _replay(self, replayed: Replayed) -> None:
        self.exchange.answer(replayed_answer(replayed.answer))

    def _go_on(self, go_on: GoOn) -> None:
        self.new = replace(self.new, id=go_on.id)
        if self.claim is not None and go_on.leased_until is not None:
            self.claim.claimed = replace(self.claim.claimed, leased_until=go_on.leased_until)
        DirectCall(self, go_on).start()


def _transaction(exchange: Exchange, rule: WriteRule, now: float) -> NewTransaction:
    principal = exchange.principal
    return NewTransaction(
        id=new_id(now),
        partner=principal.partner.name,
        client=principal.client.name,
        endpoint=rule.endpoint.name,
        upstream=rule.endpoint.upstream,
        kind=rule.kind,
        operation_id=exchange.operation_id.decode("ascii"),
        plan=rule.plan_text,
        target=(b"%b %b" % (exchange.method, exchange.target)).decode("latin-1"),
        facts={"values": principal.values, **rule.facts(exchange)},
        body=exchange.body,
        order_key=rule.order(exchange),
        other_key=rule.other_order(exchange),
        accepted_at=now,
        expires_at=now + rule.endpoint.retry.age_s,
        due_at=now,
        rest_s=rule.rest_s,
    )
