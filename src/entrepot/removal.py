"""Partners and clients that are taken out of the catalog without a file, and what ends with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from entrepot.declarative.edit import examine, without_client, without_partner
from entrepot.identity.revocation import CallerKind
from entrepot.services import Services
from entrepot.store.audit import Actor


@dataclass(frozen=True, slots=True)
class Removed:
    """What came of it: the *revision* in force, how many good secrets and API keys were *revoked*.

    *waiting* says how many accepted writes of each client that went are held, as long as the catalog does not have it.
    """

    revision: int
    revoked: int
    waiting: Mapping[str, int]


def remove(services: Services, kind: CallerKind, name: str, *, actor: Actor) -> Removed:
    """Take the client or partner *name* out of the catalog, a partner with all of its clients.

    Secrets, API keys and tokens are revoked before that, so that none is good for another of the same name, and so that
    whoever is stopped in between can begin again. Raises NotFound, Conflict for what came from a file,
    StoreUnavailable.
    """
    edits_of = without_client(name) if kind == "client" else without_partner(name)
    examine(services.database, edits_of)
    known = services.catalog().clients.values()
    clients = {one.name for one in known if name == (one.name if kind == "client" else one.partner)}
    revoked = services.credentials.revoke_all(kind, name, actor=actor)
    # Afterwards: nobody gets a new token who has not shown a secret before.
    services.desk.revoke(kind, name, actor=actor)
    done = services.edit(edits_of, actor=actor)
    waiting: Counter[str] = Counter()
    for each in services.ledger.waiting():
        if each.client in clients:
            waiting[each.client] += each.count
    return Removed(done.revision, revoked, waiting)
