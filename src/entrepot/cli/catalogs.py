"""``entrepot diff``, ``apply`` and ``export``: catalog files and the catalog in force."""

from __future__ import annotations

import argparse

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
            counter=services.revision_counter,
            by=started.by,
            prune=arguments.prune,
        )
        held = _held(services)
    for warning in done.warnings:
        complain(f"warning: {warning}")
    if arguments.json:
        changes = done.difference.as_json()
        found = {"revision": done.revision, "new": done.is_new, "changes": changes, "warnings": list(done.warnings)}
        say_json({**found, "held": held})
    else:
        _say_applied(done)
        for client, count in held.items():
            what = "1 write is" if count == 1 else f"{count} writes are"
            say(f"{what} held: the catalog has no client {client} (entrepot transactions list --client {client})")
    return 0


def _held(services: Services) -> dict[str, int]:
    """Return how many writes wait of each client that the catalog does not have: couriers hold them."""
    known = services.catalog().clients
    return {client: count for client, count in services.ledger.waiting_of_clients().items() if client not in known}


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
