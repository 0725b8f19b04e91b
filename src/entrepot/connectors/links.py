"""The live side of all upstreams of a catalog in one process: a link each, a connector for those that hold records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakSet

from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import RecordConnector, Upstream
from entrepot.connectors.link import Link
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.connectors.odoo.refusals import SharedRefusals
from entrepot.wire.clock import Clock

PLACES_POLL_S = 0.005
"""How often places that other processes gave back are looked for, while somebody waits."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the upstreams of one catalog are reached, by their names."""

    links: Mapping[str, Link] = field(default_factory=dict)
    connectors: Mapping[str, RecordConnector] = field(default_factory=dict)


class Links:
    """How upstreams are reached now: ``links`` and ``connectors`` of the catalog in force. For one event loop's thread.

    *pause_s* is that of ``Link``.
    """

    def __init__(
        self,
        shared: SharedState,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        *,
        pause_s: float = 60.0,
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._loop = loop
        self._pause_s = pause_s
        self._reach = Reach()
        # Links of former revisions, as long as something that began with them holds them.
        self._retired: WeakSet[Link] = WeakSet()
        self._polling = False

    @property
    def links(self) -> Mapping[str, Link]:
        """The link of each upstream."""
        return self._reach.links

    @property
    def connectors(self) -> Mapping[str, RecordConnector]:
        """The connector of each upstream that holds records."""
        return self._reach.connectors

    def prepare(self, upstreams: Mapping[str, Upstream]) -> Reach:
        """Return how *upstreams* will be reached; may run in a thread. What stays as it was is kept."""
        links = {name: self._link(upstream) for name, upstream in upstreams.items()}
        connectors = {name: self._connector(name, link) for name, link in links.items() if link.upstream.kind == "odoo"}
        return Reach(links, connectors)

    def enforce(self, reach: Reach) -> None:
        """Go by *reach* from now on; what has begun goes on with the link that it began with."""
        for name, link in self.links.items():
            if reach.links.get(name) is not link:
                link.retire()
                self._retired.add(link)
        self._reach = reach

    def all(self) -> tuple[Link, ...]:
        """Return the links in force, and the former ones that something goes on with."""
        return (*self.links.values(), *self._retired)

    def sweep(self, now: float) -> None:
        """Apply the deadlines of connections and waiting calls; to be called a few times a second."""
        for link in self.all():
            link.sweep(now)

    def close(self) -> None:
        """Close all connections; calls in flight fail."""
        for link in self.all():
            link.close()

    def _link(self, upstream: Upstream) -> Link:
        known = self.links.get(upstream.name)
        if known is not None and known.upstream == upstream:
            return known
        return Link(
            upstream, self._shared, self._clock, self._loop, self._wait_for_places, former=known, pause_s=self._pause_s
        )

    def _connector(self, name: str, link: Link) -> RecordConnector:
        if self.links.get(name) is link:
            return self.connectors[name]
        return OdooConnector(link.upstream, link.post, refusals=SharedRefusals(self._shared, link.upstream))

    def _wait_for_places(self) -> None:
        """Look for places that other processes give back, as long as somebody waits."""
        if not self._polling:
            self._polling = True
            self._loop.call_later(PLACES_POLL_S, self._poll_places)

    def _poll_places(self) -> None:
        self._polling = False
        now = self._loop.time()
        waiting = False
        for link in self.all():
            if link.places.has_waiters:
                link.places.poll(now)
                waiting = waiting or link.places.has_waiters
        if waiting:
            self._wait_for_places()
