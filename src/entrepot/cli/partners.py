"""``entrepot partner`` and ``entrepot client``: add, change, list and show them."""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.revisions import Origin, Revision, current
from entrepot.cli.names import client_named, partner_named
from entrepot.cli.output import say, say_json, say_table
from entrepot.cli.startup import start
from entrepot.cli.times import moment_text
from entrepot.connectors.base import Json
from entrepot.declarative.apply import Applied
from entrepot.declarative.edit import changed_client, changed_partner, new_client, new_partner
from entrepot.identity.revocation import CallerKind, Switch
from entrepot.services import Services

_WITHOUT_PARTNER = re.compile(r"max_queued|max_queued_bytes|values\.(?P<value>[A-Za-z_][A-Za-z0-9_]{0,79})")
_WITHOUT_CLIENT = re.compile("rate|quota|plan|networks|api_keys")


def add_partner(arguments: argparse.Namespace) -> int:
    """Add a partner to the catalog in force: one more revision."""
    definition = _partner(arguments)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = services.edit(new_partner(arguments.name, definition), actor=started.actor)
    return _say_done(arguments, "partner", "added", done)


def change_partner(arguments: argparse.Namespace) -> int:
    """Change what is given of a partner that came from no file, and nothing else: one more revision."""
    patch = _partner(arguments)
    values: dict[str, Json] = dict(patch.pop("values", {}))
    for key in arguments.without:
        match = _checked(arguments, _WITHOUT_PARTNER, key)
        if match["value"] is None:
            _take(arguments, patch, key)
        else:
            _take(arguments, values, match["value"])
    patch |= {"values": values} if values else {}
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = services.edit(changed_partner(arguments.name, patch), actor=started.actor)
    return _say_done(arguments, "partner", "changed", done)


def _partner(arguments: argparse.Namespace) -> dict[str, Any]:
    return _given(
        name=arguments.title,
        values=dict(_pair(arguments, text) for text in arguments.values),
        max_queued=arguments.max_queued,
        max_queued_bytes=arguments.max_queued_bytes,
    )


def add_client(arguments: argparse.Namespace) -> int:
    """Add a client to a partner that came from no file: one more revision."""
    definition = _client(arguments)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = services.edit(new_client(arguments.name, arguments.partner, definition), actor=started.actor)
    return _say_done(arguments, "client", "added", done)


def change_client(arguments: argparse.Namespace) -> int:
    """Change what is given of a client whose partner came from no file, and nothing else: one more revision."""
    patch = _client(arguments)
    for key in arguments.without:
        _checked(arguments, _WITHOUT_CLIENT, key)
        _take(arguments, patch, key)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = services.edit(changed_client(arguments.name, patch), actor=started.actor)
    return _say_done(arguments, "client", "changed", done)


def _client(arguments: argparse.Namespace) -> dict[str, Any]:
    return _given(
        scopes=arguments.scopes,
        rate=_given(per_second=arguments.rate, burst=arguments.burst),
        quota=_given(day=arguments.quota),
        networks=arguments.networks,
        plan=arguments.plan,
        api_keys=arguments.api_keys or None,
    )


def _checked(arguments: argparse.Namespace, pattern: re.Pattern[str], key: str) -> re.Match[str]:
    match = pattern.fullmatch(key)
    if match is None:
        arguments.parser.error(f"argument --without: {key!r} cannot be taken away")
    return match  # type: ignore[return-value]  # error does not return


def _take(arguments: argparse.Namespace, patch: dict[str, Any], key: str) -> None:
    if key in patch:
        arguments.parser.error(f"argument --without: {key!r} is given as well")
    patch[key] = None


def _given(**values: Json) -> dict[str, Any]:
    """Return those of *values* that were typed."""
    return {name: value for name, value in values.items() if value not in (None, [], {})}


def _pair(arguments: argparse.Namespace, text: str) -> tuple[str, Json]:
    key, sign, value = text.partition("=")
    if not (key and sign):
        arguments.parser.error(f"argument --value: {text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _say_done(arguments: argparse.Namespace, kind: CallerKind, what: str, done: Applied) -> int:
    if arguments.json:
        say_json({kind: arguments.name, "revision": done.revision})
    else:
        past = what if done.is_new else "nothing to do"
        say(f"{past}: {kind} {arguments.name}; revision {done.revision} is in force")
    return 0


def list_partners(arguments: argparse.Namespace) -> int:
    """List the partners of the catalog in force."""
    with Services.from_settings(start(arguments).settings) as services:
        catalog, origins = services.catalog(), _origins(services)
        counts = Counter(client.partner for client in catalog.clients.values())
        rows = [
            {
                "partner": name,
                "name": partner.title,
                "state": _state(services, "partner", name),
                "clients": counts[name],
                "from": _place(origins.get(name)),
            }
            for name, partner in sorted(catalog.partners.items())
        ]
    return _say_rows(arguments, rows)


def list_clients(arguments: argparse.Namespace) -> int:
    """List the clients of the catalog in force."""
    with Services.from_settings(start(arguments).settings) as services:
        catalog, origins = services.catalog(), _origins(services)
        rows = [
            {
                "client": name,
                "partner": client.partner,
                "state": _state_of_client(services, catalog, name),
                "scopes": " ".join(sorted(client.scopes)),
                "from": _place(origins.get(client.partner)),
            }
            for name, client in sorted(catalog.clients.items())
            if arguments.partner in {None, client.partner}
        ]
    return _say_rows(arguments, rows)


def show_partner(arguments: argparse.Namespace) -> int:
    """Show one partner, its clients, and whether it is let in."""
    with Services.from_settings(start(arguments).settings) as services:
        partner_named(services, arguments.name)
        revision = current(services.database)
        found = {
            "partner": arguments.name,
            **_standing(services, "partner", arguments.name),
            "from": _place(revision.origins.get(("partners", arguments.name))),
            "definition": _definition(revision, arguments.name),
        }
    return _say_one(arguments, found)


def show_client(arguments: argparse.Namespace) -> int:
    """Show one client, and whether it is let in."""
    with Services.from_settings(start(arguments).settings) as services:
        client = client_named(services, arguments.name)
        revision = current(services.database)
        partner = _definition(revision, client.partner)
        found = {
            "client": client.name,
            "partner": client.partner,
            **_standing(services, "client", client.name),
            "partner_state": _state(services, "partner", client.partner),
            "from": _place(revision.origins.get(("partners", client.partner))),
            "definition": (partner.get("clients") or {}).get(client.name, {}),
        }
    return _say_one(arguments, found)


def _definition(revision: Revision, partner: str) -> dict[str, Any]:
    found = revision.document.get("partners", {}).get(partner)
    return found if isinstance(found, dict) else {}


def _standing(services: Services, kind: CallerKind, name: str) -> dict[str, Any]:
    switch = _switch(services, kind, name)
    found: dict[str, Any] = {"state": "enabled" if switch is None else "disabled"}
    return found if switch is None else {**found, "since": moment_text(switch.at), "by": switch.by}


def _state(services: Services, kind: CallerKind, name: str) -> str:
    return "enabled" if _switch(services, kind, name) is None else "disabled"


def _state_of_client(services: Services, catalog: Catalog, name: str) -> str:
    disabled = services.revocations.disabled(name, catalog.clients[name].partner)
    return {None: "enabled", "client": "disabled", "partner": "partner disabled"}[disabled]


def _switch(services: Services, kind: CallerKind, name: str) -> Switch | None:
    return services.revocations.switch(kind, name)


def _origins(services: Services) -> dict[str, Origin]:
    return {
        name: origin for (section, name), origin in current(services.database).origins.items() if section == "partners"
    }


def _place(origin: Origin | None) -> str:
    return "" if origin is None else origin.place or origin.kind


def _say_rows(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(rows[0]), *(list(row.values()) for row in rows)])
    return 0


def _say_one(arguments: argparse.Namespace, found: dict[str, Any]) -> int:
    if arguments.json:
        say_json(found)
    else:
        say_table(list(_lines(found)))
    return 0


def _lines(found: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in found.items():
        if key == "definition":
            yield from _lines(value)
        else:
            yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
