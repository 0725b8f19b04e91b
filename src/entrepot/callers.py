"""Clients and partners that operators shut out and let in again, with what waits of them in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from entrepot.catalog.definitions import Catalog
from entrepot.errors import StoreUnavailable
from entrepot.identity.disabling import Disabling
from entrepot.identity.revocation import CallerKind, Counter, Revocations
from entrepot.ledger.desk import STEP, LedgerDesk
from entrepot.ledger.entries import Filters
from entrepot.store.audit import Actor


@dataclass(frozen=True, slots=True)
class Disabled:
    """What came of it. *new*: it was let in before. *stored*: the database knows of it, and what waits is held.

    So many transactions that waited are *held* now, and so many *cancelled*. Without *stored* it is refused all the
    same; what waits of it is held when the database is back, and nothing is cancelled.
    """

    new: bool
    stored: bool
    held: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class Enabled:
    """What came of it. *new*: it was disabled before. *released* is how many held transactions go on.

    *partner_disabled*: the client is let in no more than before, because of its partner.
    """

    new: bool
    released: int = 0
    partner_disabled: bool = False


class Callers:
    """Disables and enables. *catalog* and *ledger* give what is in force; *ledger* raises StoreUnavailable.

    *unwritten* counts what could not be noted: whoever looks after the store calls ``hold_all`` when it has grown.
    """

    def __init__(
        self,
        disabling: Disabling,
        revocations: Revocations,
        catalog: Callable[[], Catalog],
        ledger: Callable[[], LedgerDesk],
        unwritten: Counter,
    ) -> None:
        self._disabling = disabling
        self._revocations = revocations
        self._catalog = catalog
        self._ledger = ledger
        self._unwritten = unwritten

    def disable(self, kind: CallerKind, name: str, *, actor: Actor, cancel: bool = False) -> Disabled:
        """Refuse all that the client or partner *name* shows, and hold what waits of it; *cancel*: cancel that.

        It is refused within a second, also when the database is away. What may have been applied stays held. Raises
        StoreUnavailable when nothing can be put on disk.
        """
        done = self._disabling.disable(kind, name, actor=actor)
        if done.stored:
            with suppress(StoreUnavailable):
                held = self._hold(kind, name)
                cancelled = self._cancel(kind, name, actor) if cancel else 0
                # Somebody may have enabled it before it was held.
                self.release_all()
                return Disabled(done.new, stored=True, held=held, cancelled=cancelled)
        self._unwritten.bump()
        return Disabled(done.new, stored=False)

    def enable(self, kind: CallerKind, name: str, *, actor: Actor) -> Enabled:
        """Let the client or partner *name* in again, and what was held of it go on. Raises StoreUnavailable."""
        new = self._disabling.enable(kind, name, actor=actor).new
        clients = self._catalog().clients
        ledger = self._ledger()
        released = 0
        for client in self._clients(kind, name):
            partner = clients[client].partner if client in clients else ""
            if self._revocations.disabled(client, partner) is None:
                released += ledger.release_client(client, is_known=client in clients)
        released += self.release_all()
        is_shut = kind == "client" and name in clients and self._is_disabled("partner", clients[name].partner)
        return Enabled(new, released, is_shut)

    def hold_all(self) -> None:
        """Hold what waits of those that were disabled while the database was away, and of nobody else.

        Raises StoreUnavailable.
        """
        for switch in self._revocations.switches():
            self._hold(switch.kind, switch.value)
        self.release_all()

    def release_all(self) -> int:
        """Let go what is held of those who are disabled no more, and return how many transactions go on.

        A client may have gone to another partner, or been enabled while it was held. Raises StoreUnavailable.
        """
        ledger = self._ledger()
        held = ledger.disabled_clients()
        if not held:
            return 0
        # After the look at the holds: whoever disables writes the revocation first.
        self._revocations.refresh()
        clients = self._catalog().clients
        known = [clients[name] for name in held if name in clients]
        free = [each.name for each in known if self._revocations.disabled(each.name, each.partner) is None]
        return sum(ledger.release_client(name, is_known=True) for name in free)

    def _hold(self, kind: CallerKind, name: str) -> int:
        ledger = self._ledger()
        return sum(ledger.hold_client(client) for client in self._clients(kind, name))

    def _cancel(self, kind: CallerKind, name: str, actor: Actor) -> int:
        ledger = self._ledger()
        all_that_waits = Filters(states=("queued", "waiting", "held"), limit=STEP)
        wanted = replace(all_that_waits, client=name) if kind == "client" else replace(all_that_waits, partner=name)
        ids = ([sight.id for sight in page] for page in ledger.pages(wanted))
        return sum(len(ledger.change("cancel", page, actor=actor)) for page in ids)

    def _clients(self, kind: CallerKind, name: str) -> list[str]:
        if kind == "client":
            return [name]
        theirs = {client.name for client in self._catalog().clients.values() if client.partner == name}
        return sorted(theirs | set(self._ledger().waiting_clients(name)))

    def _is_disabled(self, kind: CallerKind, name: str) -> bool:
        return self._revocations.switch(kind, name) is not None
