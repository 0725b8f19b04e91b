"""``entrepot diff``, ``apply`` and ``export``: catalog files and the catalog in force."""

from __future__ import annotations

import argparse
from collections import Counter

from entrepot.catalog.revisions import current
from entrepot.cli.output import complain, say, say_json
from entrepot.cli.startup import start
from entrepot.declarative import apply as applying
from entrepot.declarative.export import export as exported
from entrepot.declarative.live import LiveTypes
from entrepot.services import Services


def diff(arguments: argparse.Namespace) -> int:
    """Say what applying the files would change."""
    with Services.from_settings(start(arguments).settings) as services:
        found = applying.diff_files(services.database, arguments.files, prune=arguments.prune)
    if arguments.json:
        say_json(found.as_json())
    elif not found:
        say("no difference")
    else:
        for line in found.lines():
            say(line)
    return 0


def apply(arguments: argparse.Namespace) -> int:
    """Bring the files into force and say what that changed."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services, LiveTypes(started.settings.store.directory) as ask:
        done = applying.apply(
            services.database,
            arguments.files,
            ask=ask,
            snapshot=services.snapshot_path,
            actor=started.actor,
            prune=arguments.prune,
        )
        orphans = _orphans(services)
    for warning in done.warnings:
        complain(f"warning: {warning}")
    if arguments.json:
        changes = done.difference.as_json()
        found = {"revision": done.revision, "new": done.is_new, "changes": changes, "warnings": list(done.warnings)}
        say_json({**found, "waiting": {f"{kind}s": names for kind, names in orphans.items()}})
    else:
        _say_applied(done)
        for kind, names in orphans.items():
            for name, count in names.items():
                say(orphaned(kind, name, count))
    return 0


def _orphans(services: Services) -> dict[str, Counter[str]]:
    """Return how many writes wait of each client, upstream and endpoint that the catalog does not have.

    Couriers hold those of such a client or upstream; those of such an endpoint alone they deliver.
    """
    catalog = services.catalog()
    found: dict[str, Counter[str]] = {"client": Counter(), "upstream": Counter(), "endpoint": Counter()}
    for each in services.ledger.waiting():
        if each.client not in catalog.clients:
            found["client"][each.client] += each.count
        if each.upstream not in catalog.upstreams:
            found["upstream"][each.upstream] += each.count
        elif each.client in catalog.clients and each.endpoint not in catalog.endpoints:
            found["endpoint"][each.endpoint] += each.count
    return found


def orphaned(kind: str, name: str, count: int) -> str:
    """Return the sentence on *count* writes that wait of *name*, which the catalog does not have."""
    what = "1 write is" if count == 1 else f"{count} writes are"
    then = "delivered all the same" if kind == "endpoint" else "held"
    return f"{what} {then}: the catalog has no {kind} {name} (entrepot transactions list --{kind} {name})"


def _say_applied(done: applying.Applied) -> None:
    for line in done.difference.lines():
        say(line)
    if done.is_new:
        say(f"revision {done.revision} is in force")
    else:
        say(f"nothing to do: revision {done.revision} is in force")


def export(arguments: argparse.Namespace) -> int:
    """Write the catalog in force as YAML that ``check`` takes."""
    with Services.from_settings(start(arguments).settings) as services:
        document = current(services.database).document
    if arguments.json:
        say_json(document)
    else:
        say(exported(document).rstrip("\n"))
    return 0
