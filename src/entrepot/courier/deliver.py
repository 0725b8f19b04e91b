"""One delivery: what a lease says is sent to its upstream, and the answer comes back as the partner would have got it.

Nothing is sent for a lease that may have ended: that is asked again when the request has its place and goes out.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import orjson

from entrepot.catalog.plans import Plan
from entrepot.chassis.errors import Error
from entrepot.connectors.base import Caller, Earlier, HttpReply, RecordConnector, Withdrawn
from entrepot.connectors.delivery import RelayAnswer, RelayWrite, answer_fault
from entrepot.connectors.delivery import deliver as send
from entrepot.connectors.faults import FaultClass, unsent
from entrepot.connectors.http import Relay
from entrepot.connectors.link import Link
from entrepot.connectors.links import Links
from entrepot.courier.leases import OwnLease
from entrepot.courier.verdict import makes_lines
from entrepot.errors import SettingsError, UpstreamMisconfigured, UpstreamRejected, UpstreamUnavailable
from entrepot.ledger.entries import Json, KeptAnswer, Lease

JSON_TYPE = b"content-type: application/json\r\n"
SENT_AT = "sent_at"
MAX_RELAYS = 4096

Note = Callable[[OwnLease, dict[str, Json]], Awaitable[bool]]
_delivering: ContextVar[OwnLease] = ContextVar("_delivering")


class Answered(Exception):
    """The upstream answered a relayed write with a refusal: *error* is what it means, *answer* what it said."""

    def __init__(self, error: Error, answer: KeptAnswer) -> None:
        super().__init__(str(error))
        self.error = error
        self.answer = answer


class FencedPost:
    """A ``Post`` that sends nothing for a delivery whose lease may have ended."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def __call__(
        self,
        path: str,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        deadline: float,
        is_void: Callable[[], bool] | None = None,
    ) -> HttpReply:
        """Return the upstream's answer, whatever its status. Raises Withdrawn when the lease may have ended."""
        own = _delivering.get(None)
        fence = is_void if own is None else partial(_is_void, own, is_void)
        return await self._link.post(path, body, headers, deadline=deadline, is_void=fence)


class Deliverer:
    """Delivers leases over *links*. *note* keeps what a connector wants remembered; False: the lease is lost."""

    def __init__(self, links: Links, note: Note) -> None:
        self._links = links
        self._note = note
        self._relays: dict[str, tuple[Link, Relay]] = {}

    async def deliver(self, own: OwnLease, plan: Plan, link: Link) -> KeptAnswer:
        """Send what *own* is a lease of by *link*, once, and return the answer. Raises Error, or Answered."""
        _delivering.set(own)
        if plan.relay is not None:
            return await self._relay(own, plan, link)
        connector = self._links.connectors.get(own.lease.upstream)
        if connector is None:
            raise _other_kind(link)
        return await self._record(own, plan, connector, link)

    def forget(self, digest: str) -> None:
        """Make the relay of the plan with *digest* anew the next time: its credential may be another one then."""
        self._relays.pop(digest, None)

    # -- records

    async def _record(self, own: OwnLease, plan: Plan, connector: RecordConnector, link: Link) -> KeptAnswer:
        caller = self._caller(own, plan, link)
        if is_guarded(plan):
            await self._remember(own, {})
        document: dict[str, Json] = orjson.loads(own.lease.body) if own.lease.body else {}
        key = str(caller.values["id"]) if "id" in caller.values else None
        if plan.call is not None:
            return _data(200, await connector.call(plan.call, key, document, caller))
        mapping = plan.model
        if mapping is None or (key is None and plan.kind != "create"):
            raise unsent(UpstreamMisconfigured("the accepted work does not say what is to be done"))
        if plan.kind == "create":
            return _data(201, await connector.create(mapping, document, caller))
        if plan.kind == "update":
            return _data(200, await connector.update(mapping, str(key), document, caller))
        await connector.delete(mapping, str(key), caller)
        return KeptAnswer(204, b"", b"")

    def _caller(self, own: OwnLease, plan: Plan, link: Link) -> Caller:
        lease = own.lease
        memory = {name: value for name, value in (lease.memory or {}).items() if name != SENT_AT}
        return Caller(
            operation_id=lease.operation_id,
            transaction_id=lease.id,
            deadline=time.monotonic() + link.upstream.timeout_s,
            values={**lease.facts.get("values", {}), **lease.facts.get("variables", {})},
            context=plan.context,
            earlier=None if lease.applied == "no" else Earlier(memory),
            remember=partial(self._remember, own),
        )

    async def _remember(self, own: OwnLease, memory: Mapping[str, Json]) -> None:
        kept = {**(own.lease.memory or {}), **memory, SENT_AT: time.time()}
        if not await self._note(own, kept):
            own.lost = True
            raise unsent(Withdrawn("the work was taken over by another courier"))

    # -- relays

    async def _relay(self, own: OwnLease, plan: Plan, link: Link) -> KeptAnswer:
        lease = own.lease
        relay = self._made(plan, lease.plan.digest, link)
        write = RelayWrite(
            method=plan.method,
            variables=lease.facts.get("variables", {}),
            query=lease.facts.get("query", ""),
            fields=str(lease.facts.get("fields", "")).encode("latin-1"),
            body=lease.body,
            values=lease.facts.get("values", {}),
            transaction_id=lease.id,
            operation_id=lease.operation_id,
        )
        deadline = time.monotonic() + link.upstream.timeout_s
        answer = await send(relay, write, deadline=deadline, is_void=partial(_is_void, own, None))
        kept = KeptAnswer(answer.status, answer.fields, answer.body)
        fault = answer_fault(answer.status, answer.fields, again=lease.applied != "no")
        if fault is not None:
            raise Answered(_meant(link.upstream.name, answer, fault), kept)
        return kept

    def _made(self, plan: Plan, digest: str, link: Link) -> Relay:
        known = self._relays.get(digest)
        if known is not None and known[0] is link:
            return known[1]
        if plan.relay is None or link.upstream.kind != "http":
            raise _other_kind(link)
        try:
            relay = Relay(plan.relay, link, plan.variables)
        except SettingsError as exc:
            raise unsent(UpstreamMisconfigured(f"the credential of {link.upstream.name} cannot be read")) from exc
        if len(self._relays) >= MAX_RELAYS:
            self._relays.clear()
        self._relays[digest] = (link, relay)
        return relay


def _other_kind(link: Link) -> Error:
    name = link.upstream.name
    return unsent(UpstreamMisconfigured(f"{name} is not of the kind any more that the work was accepted for"))


def is_guarded(plan: Plan) -> bool:
    """Tell whether *plan* is a call with a guard, which must not be read while the upstream may be at work."""
    return plan.call is not None and plan.call.guard is not None


def rests_until(lease: Lease, plan: Plan, settle_s: float) -> float:
    """Return until when (Unix time) *lease* rests because the upstream may be at work on it, 0.0 when it need not."""
    if lease.applied == "no" or not (is_guarded(plan) or makes_lines(plan)):
        return 0.0
    return float((lease.memory or {}).get(SENT_AT, 0.0)) + settle_s


def _is_void(own: OwnLease, asked_before: Callable[[], bool] | None) -> bool:
    if (asked_before is not None and asked_before()) or not own.may_send():
        return True
    own.sent = True
    return False


def _data(status: int, data: Any) -> KeptAnswer:
    return KeptAnswer(status, JSON_TYPE, orjson.dumps(data))


def _meant(upstream: str, answer: RelayAnswer, fault: FaultClass) -> Error:
    """Return the error that stands for an answer that is no success."""
    said = f"{upstream} answered with {answer.status}"
    kinds: dict[str, type[Error]] = {"record": UpstreamRejected, "transient": UpstreamUnavailable}
    error = kinds.get(fault.kind, UpstreamMisconfigured)(said, retry_after_s=fault.retry_after_s)
    error.applied = fault.applied
    return error
