"""One delivery: what a lease says is sent to its upstream, and the answer comes back as the partner would have got it.

Nothing is sent for a lease that may have ended: that is asked again when the request has its place and goes out.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import orjson

from entrepot.catalog.plans import Plan
from entrepot.chassis.errors import Error
from entrepot.connectors.base import Caller, Earlier, RecordConnector, Withdrawn
from entrepot.connectors.delivery import RelayWrite, answer_error, answer_fault, location
from entrepot.connectors.delivery import deliver as send
from entrepot.connectors.faults import unsent
from entrepot.connectors.fence import raise_fence
from entrepot.connectors.http import Relay
from entrepot.connectors.link import Link
from entrepot.connectors.links import Links
from entrepot.courier.leases import OwnLease
from entrepot.errors import SettingsError, UpstreamMisconfigured
from entrepot.ledger.entries import Json, KeptAnswer
from entrepot.store.backend import Clock

JSON_TYPE = b"content-type: application/json\r\n"
MAX_RELAYS = 4096

Note = Callable[[OwnLease, dict[str, Json], float | None], Awaitable[bool]]


class Answered(Exception):
    """The upstream answered a relayed write with a refusal: *error* is what it means, *answer* what it said."""

    def __init__(self, error: Error, answer: KeptAnswer) -> None:
        super().__init__(str(error))
        self.error = error
        self.answer = answer


class Deliverer:
    """Delivers leases over *links*.

    *note* keeps what a connector wants remembered, and until when the upstream may be at work on what is sent then,
    None when that does not matter; False: the lease is lost. *now* is the database's clock.
    """

    def __init__(self, links: Links, note: Note, now: Clock) -> None:
        self._links = links
        self._note = note
        self._now = now
        self._relays: dict[str, tuple[Link, Relay]] = {}

    async def deliver(self, own: OwnLease, plan: Plan, link: Link) -> KeptAnswer:
        """Send what *own* is a lease of by *link*, once, and return the answer. Raises Error, or Answered."""
        raise_fence(partial(_is_void, own))
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
        # Of the first try of an update the connector notes what it finds, which is enough.
        if plan.is_guarded or (plan.rests and own.lease.applied != "no"):
            await self._remember(own, _rest_s(plan, link), {})
        document: dict[str, Json] = orjson.loads(own.lease.body) if own.lease.body else {}
        key = str(caller.values["id"]) if "id" in caller.values else None
        if plan.call is not None:
            return _data(200, await connector.call(plan.call, key, document, caller))
        mapping = plan.model
        if mapping is None or (key is None and plan.kind != "create"):
            raise unsent(UpstreamMisconfigured("the accepted work does not say what is to be done"))
        if plan.kind == "create":
            record = await connector.create(mapping, document, caller)
            # What an older release accepted does not say where.
            path = own.lease.facts.get("path")
            return _data(201, record, b"" if path is None else location(path.encode("latin-1"), record[mapping.key]))
        if plan.kind == "update":
            return _data(200, await connector.update(mapping, str(key), document, caller))
        await connector.delete(mapping, str(key), caller)
        return KeptAnswer(204, b"", b"")

    def _caller(self, own: OwnLease, plan: Plan, link: Link) -> Caller:
        lease = own.lease
        return Caller(
            operation_id=lease.operation_id,
            transaction_id=lease.id,
            deadline=time.monotonic() + link.upstream.timeout_s,
            values={**lease.facts.get("values", {}), **lease.facts.get("variables", {})},
            context=plan.context,
            earlier=None if lease.applied == "no" else Earlier(lease.memory or {}),
            remember=partial(self._remember, own, _rest_s(plan, link)),
        )

    async def _remember(self, own: OwnLease, rest_s: float | None, memory: Mapping[str, Json]) -> None:
        kept = {**(own.lease.memory or {}), **memory}
        if not await self._note(own, kept, None if rest_s is None else self._now() + rest_s):
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
        answer = await send(relay, write, deadline=deadline)
        kept = KeptAnswer(answer.status, answer.fields, answer.body)
        fault = answer_fault(answer.status, answer.fields, again=lease.applied != "no")
        if fault is not None:
            raise Answered(answer_error(link.upstream.name, answer.status, fault), kept)
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


def _rest_s(plan: Plan, link: Link) -> float | None:
    """Return how long nobody must try again what is sent now, unless more is heard of it; None: that does no harm."""
    return link.upstream.settle_s if plan.rests else None


def _is_void(own: OwnLease) -> bool:
    """Tell whether nothing may be sent for *own* any more; otherwise it is sent now."""
    if own.may_send():
        own.sent = True
        return False
    return True


def _data(status: int, data: Any, fields: bytes = b"") -> KeptAnswer:
    return KeptAnswer(status, JSON_TYPE + fields, orjson.dumps(data))
