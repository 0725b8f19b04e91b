"""``entrepot partner`` and ``entrepot client``: take them out of the catalog, for good."""

from __future__ import annotations

import argparse

from entrepot.cli.catalogs import orphaned
from entrepot.cli.output import say, say_json
from entrepot.cli.startup import start
from entrepot.identity.revocation import CallerKind
from entrepot.removal import remove as take_out
from entrepot.services import Services


def remove(arguments: argparse.Namespace) -> int:
    """Take a client or partner out of the catalog, and say what has ended with it."""
    kind: CallerKind = arguments.kind
    if not arguments.yes:
        arguments.parser.error("its secrets, API keys and tokens do not come back; add --yes to do it")
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = take_out(services, kind, arguments.name, actor=started.actor)
    if arguments.json:
        found = {"revision": done.revision, "revoked": done.revoked, "waiting": dict(done.waiting)}
        say_json({kind: arguments.name, **found})
        return 0
    say(f"removed: {kind} {arguments.name}; revision {done.revision} is in force")
    say(f"all its tokens are refused, and {_credentials(done.revoked)}")
    for client, count in done.waiting.items():
        say(orphaned("client", client, count))
    return 0


def _credentials(count: int) -> str:
    return "1 secret or API key" if count == 1 else f"{count} secrets and API keys"
