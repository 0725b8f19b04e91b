"""Change single objects of the catalog in force without a file: what commands and the console do.

Such a change is one more revision, checked as a whole. Objects that came from files are changed in their files alone,
or the next ``apply`` would take the change back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from entrepot.catalog.check import check
from entrepot.catalog.revisions import Origin, Revision, current
from entrepot.catalog.tree import Node, rooted
from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Json
from entrepot.declarative.apply import Applied, Plan, bring_in, planned
from entrepot.declarative.document import GIVEN, STANDING, summary
from entrepot.errors import BadRequest, CatalogError, Conflict, NotFound
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database


@dataclass(frozen=True, slots=True)
class Edits:
    """What is to be changed. *objects* maps ``(section, name)`` to the new definition; None takes the object away.

    *change* is what the audit log says of it, beside the revision.
    """

    objects: Mapping[tuple[str, str], Json]
    change: Change


def edit(
    database: Database,
    edits_of: Callable[[Revision], Edits],
    *,
    snapshot: Path,
    actor: Actor,
) -> Applied:
    """Bring into force what *edits_of* makes of the present revision, all or nothing, and return what that changed.

    It may be asked again when others change the catalog meanwhile. Raises what it raises, Conflict for an object of a
    file, CatalogError with every mistake, StoreUnavailable, OSError.
    """
    return bring_in(database, lambda former: _plan(former, edits_of(former)), ask=None, snapshot=snapshot, actor=actor)


def examine(database: Database, edits_of: Callable[[Revision], Edits]) -> None:
    """Raise what ``edit`` would raise now of what is to be changed, and change nothing."""
    former = current(database)
    _plan(former, edits_of(former))


def new_partner(name: str, definition: Json) -> Callable[[Revision], Edits]:
    """Return the edit that adds the partner *name*; it raises Conflict when there is one."""

    def edits_of(former: Revision) -> Edits:
        if name in former.document.get("partners", {}):
            raise Conflict(f"there is a partner {name!r} already, from {_place(former.origins['partners', name])}")
        return Edits({("partners", name): definition}, Change("add", "partner", name, after=_shown(definition)))

    return edits_of


def changed_partner(name: str, patch: Json) -> Callable[[Revision], Edits]:
    """Return the edit that changes what *patch* has of the partner *name*; what is None there goes (RFC 7396).

    It raises NotFound when there is no such partner.
    """

    def edits_of(former: Revision) -> Edits:
        known = _partner_in(former, name)
        new = _merged(known, patch)
        change = Change("change", "partner", name, before=_shown(known), after=_shown(new))
        return Edits({("partners", name): new}, change)

    return edits_of


def without_partner(name: str) -> Callable[[Revision], Edits]:
    """Return the edit that takes the partner *name* away with its clients; it raises NotFound when there is none."""

    def edits_of(former: Revision) -> Edits:
        known = _partner_in(former, name)
        return Edits({("partners", name): None}, Change("remove", "partner", name, before=_shown(known)))

    return edits_of


def new_client(name: str, partner: str, definition: Json) -> Callable[[Revision], Edits]:
    """Return the edit that adds the client *name* to *partner*.

    It raises NotFound when there is no such partner, Conflict when there is a client of this name.
    """

    def edits_of(former: Revision) -> Edits:
        owner = _owner(former, name)
        if owner is not None:
            raise Conflict(f"there is a client {name!r} already, of the partner {owner!r}")
        change = Change("add", "client", name, after=_shown(definition))
        return _with_clients(former, partner, {name: definition}, change)

    return edits_of


def changed_client(name: str, patch: Json) -> Callable[[Revision], Edits]:
    """Return the edit that changes what *patch* has of the client *name*; what is None there goes (RFC 7396).

    It raises NotFound when there is no such client.
    """

    def edits_of(former: Revision) -> Edits:
        partner, known = _client_in(former, name)
        new = _merged(known, patch)
        change = Change("change", "client", name, before=_shown(known), after=_shown(new))
        return _with_clients(former, partner, {name: new}, change)

    return edits_of


def without_client(name: str) -> Callable[[Revision], Edits]:
    """Return the edit that takes the client *name* away; it raises NotFound when there is none."""

    def edits_of(former: Revision) -> Edits:
        partner, known = _client_in(former, name)
        return _with_clients(former, partner, {name: None}, Change("remove", "client", name, before=_shown(known)))

    return edits_of


def _partner_in(former: Revision, name: str) -> dict[str, Json]:
    partners = former.document.get("partners", {})
    known = partners.get(name)
    if not isinstance(known, dict):
        names = ", ".join(sorted(partners)) or "none"
        raise NotFound(f"the catalog in force has no partner {name!r}; it has: {names}")
    return known


def _owner(former: Revision, client: str) -> str | None:
    partners = former.document.get("partners", {})
    return next((name for name, known in partners.items() if client in _clients(known)), None)


def _client_in(former: Revision, name: str) -> tuple[str, Json]:
    """Return the partner of the client *name*, and the client's definition."""
    partner = _owner(former, name)
    if partner is None:
        raise NotFound(f"the catalog in force has no client {name!r}")
    return partner, _clients(_partner_in(former, partner))[name]


def _with_clients(former: Revision, partner: str, changed: Mapping[str, Json], change: Change) -> Edits:
    known = _partner_in(former, partner)
    clients = {name: each for name, each in {**_clients(known), **changed}.items() if each is not None}
    return Edits({("partners", partner): {**known, "clients": clients}}, change)


def _merged(known: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return patch
    merged = dict(known) if isinstance(known, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _shown(definition: Json) -> Mapping[str, Json] | None:
    """Return what the audit log keeps of *definition*: of a partner not its clients, which may be very many."""
    if not isinstance(definition, dict):
        return None
    return {key: value for key, value in definition.items() if key != "clients"}


def _clients(partner: Json) -> Mapping[str, Json]:
    found = partner.get("clients") if isinstance(partner, dict) else None
    return found if isinstance(found, dict) else {}


def _plan(former: Revision, edits: Edits) -> Plan:
    for section, name in edits.objects:
        origin = former.origins.get((section, name))
        if origin is not None and origin.kind == "file":
            raise Conflict(f"{section}.{name} came from {_place(origin)}: change it there, and apply")
    mistakes: list[Mistake] = []
    draft = check(_tree(former, edits), mistakes)
    if mistakes:
        raise CatalogError(summary(mistakes), errors=mistakes)
    return planned(former, draft, edits.change)


def _tree(former: Revision, edits: Edits) -> Node:
    sections: dict[str, dict[str, Node]] = {}
    for section, objects in former.document.items():
        sections[section] = {name: rooted(definition, STANDING) for name, definition in objects.items()}
    for (section, name), definition in edits.objects.items():
        if not name:
            raise BadRequest("a name is missing")
        objects = sections.setdefault(section, {})
        objects.pop(name, None)
        if definition is not None:
            objects[name] = rooted(definition, GIVEN)
    return Node({section: Node(dict(nodes), STANDING) for section, nodes in sections.items()}, STANDING)


def _place(origin: Origin) -> str:
    return origin.place if origin.kind == "file" else "no file"
