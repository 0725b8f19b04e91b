"""Partners and their clients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from entrepot.catalog.revisions import Revision, origins_of
from entrepot.console.api.moments import shown
from entrepot.console.rows import Call
from entrepot.declarative.edit import Edits, changed_client, changed_partner, new_client, new_partner
from entrepot.errors import CatalogError, InvalidBody, NotFound
from entrepot.identity.partners import Client, Partner
from entrepot.identity.refused import CallerKind
from entrepot.removal import remove

Data = dict[str, Any]


def client_named(call: Call, name: str) -> Client:
    """Return the client *name* of the catalog in force. Raises NotFound."""
    client = call.console.catalog.clients.get(name)
    if client is None:
        raise NotFound(f"the catalog in force has no client {name!r}")
    return client


def _partner_named(call: Call, name: str) -> Partner:
    partner = call.console.catalog.partners.get(name)
    if partner is None:
        raise NotFound(f"the catalog in force has no partner {name!r}")
    return partner


# -- partners


def partners(call: Call) -> list[Data]:
    """List the partners by name."""
    found = call.console.catalog.partners
    return _partners(call, [found[name] for name in call.page.of(sorted(found))])


def partner(call: Call) -> Data:
    """Show a partner."""
    return _partners(call, [_partner_named(call, call.names["name"])])[0]


def add_partner(call: Call) -> Data:
    """Add a partner to the catalog: one more revision."""
    definition = {"name": call.body["title"], **_given(call, "values", "max_queued", "max_queued_bytes")}
    _bring_in(call, new_partner(call.body["name"], definition))
    return _partners(call, [_partner_named(call, call.body["name"])])[0]


def change_partner(call: Call) -> Data:
    """Change what is given of a partner that is in no file, and nothing else: one more revision."""
    patch = _given(call, "values", "max_queued", "max_queued_bytes")
    if "title" in call.body:
        patch["name"] = call.body["title"]
    _bring_in(call, changed_partner(call.names["name"], patch))
    return partner(call)


def remove_partner(call: Call) -> Data:
    """Take a partner that is in no file out of the catalog, with its clients and all that they get in with."""
    return _remove(call, "partner")


def disable_partner(call: Call) -> Data:
    """Refuse all that the partner's clients show, and hold or cancel what waits of them."""
    return _disable(call, "partner", _partner_named(call, call.names["name"]).name)


def enable_partner(call: Call) -> Data:
    """Let the partner in again."""
    return _enable(call, "partner", _partner_named(call, call.names["name"]).name)


# -- clients


def clients(call: Call) -> list[Data]:
    """List the clients by name."""
    found, wanted = call.console.catalog.clients, call.query.get("partner")
    names = sorted(name for name, each in found.items() if wanted in {None, each.partner})
    return _clients(call, [found[name] for name in call.page.of(names)])


def client(call: Call) -> Data:
    """Show a client."""
    return _clients(call, [client_named(call, call.names["name"])])[0]


def add_client(call: Call) -> Data:
    """Add a client to a partner that is in no file: one more revision."""
    definition = _given(call, "scopes", "networks", "plan", "rate", "quota", "api_keys")
    _bring_in(call, new_client(call.body["name"], call.body["partner"], definition))
    return _clients(call, [client_named(call, call.body["name"])])[0]


def change_client(call: Call) -> Data:
    """Change what is given of a client whose partner is in no file, and nothing else: one more revision."""
    patch = _given(call, "scopes", "networks", "plan", "rate", "quota", "api_keys")
    _bring_in(call, changed_client(call.names["name"], patch))
    return client(call)


def remove_client(call: Call) -> Data:
    """Take a client whose partner is in no file out of the catalog, with all that it gets in with."""
    return _remove(call, "client")


def disable_client(call: Call) -> Data:
    """Refuse all that the client shows, and hold or cancel what waits of it."""
    return _disable(call, "client", client_named(call, call.names["name"]).name)


def enable_client(call: Call) -> Data:
    """Let the client in again."""
    return _enable(call, "client", client_named(call, call.names["name"]).name)


# -- both


def _given(call: Call, *names: str) -> Data:
    return {name: call.body[name] for name in names if name in call.body}


def _bring_in(call: Call, edits_of: Callable[[Revision], Edits]) -> None:
    try:
        call.console.services.edit(edits_of, actor=call.actor)
    except CatalogError as exc:
        # What the files of a catalog are told, told of a body.
        raise InvalidBody(str(exc), errors=exc.errors) from exc


def _remove(call: Call, kind: CallerKind) -> Data:
    done = remove(call.console.services, kind, call.names["name"], actor=call.actor)
    return {"revision": done.revision, "revoked": done.revoked, "waiting": dict(done.waiting)}


def _disable(call: Call, kind: CallerKind, name: str) -> Data:
    done = call.console.services.callers.disable(
        kind, name, actor=call.actor, cancel=call.body.get("cancel_queued", False)
    )
    return {"new": done.new, "stored": done.stored, "held": done.held, "cancelled": done.cancelled}


def _enable(call: Call, kind: CallerKind, name: str) -> Data:
    done = call.console.services.callers.enable(kind, name, actor=call.actor)
    return {"new": done.new, "released": done.released, "partner_disabled": done.partner_disabled}


def _partners(call: Call, found: Sequence[Partner]) -> list[Data]:
    origins = _origins(call, {each.name for each in found})
    return [
        {
            "name": each.name,
            "title": each.title,
            "values": dict(each.values),
            "max_queued": each.max_queued,
            "max_queued_bytes": each.max_queued_bytes,
            "origin": origins.get(each.name),
            "disabled": _switch(call, "partner", each.name),
        }
        for each in found
    ]


def _clients(call: Call, found: Sequence[Client]) -> list[Data]:
    # A client is part of its partner, and comes from where that does.
    origins = _origins(call, {each.partner for each in found})
    return [
        {
            "name": each.name,
            "partner": each.partner,
            "scopes": sorted(each.scopes),
            "networks": [str(network) for network in each.networks],
            "plan": each.plan,
            "rate": each.rate and {"per_second": each.rate.per_second, "burst": each.rate.burst},
            "quota": each.quota and {"day": each.quota.day},
            "api_keys": each.api_keys,
            "origin": origins.get(each.partner),
            "disabled": _switch(call, "client", each.name),
        }
        for each in found
    ]


def _origins(call: Call, partners: Collection[str]) -> dict[str, Data]:
    found = origins_of(call.console.services.database, "partners", partners)
    return {name: {"kind": origin.kind, "place": origin.place} for name, origin in found.items()}


def _switch(call: Call, kind: CallerKind, name: str) -> dict[str, str] | None:
    revocations = call.console.services.revocations
    if revocations.has_changed():
        revocations.refresh()
    switch = revocations.switch(kind, name)
    return None if switch is None else {"since": shown(switch.at), "by": switch.by}
