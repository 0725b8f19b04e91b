"""``entrepot partner`` and ``entrepot client``: shut them out, and let them in again."""

from __future__ import annotations

import argparse

from entrepot.callers import Disabled, Enabled
from entrepot.cli.output import complain, say, say_json
from entrepot.cli.startup import start
from entrepot.identity.revocation import CallerKind
from entrepot.services import Services


def disable(arguments: argparse.Namespace) -> int:
    """Refuse all that a client or partner shows, and hold what waits of it, or cancel it."""
    kind: CallerKind = arguments.kind
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        _warn_of_unknown(services, kind, arguments.name)
        done = services.callers.disable(kind, arguments.name, actor=started.actor, cancel=arguments.cancel_queued)
    if not done.stored:
        complain(
            f"the {kind} is refused, but the database is away: what waits of it is not sent, and held when the "
            "database is back; repeat this then to see it" + (" cancelled" if arguments.cancel_queued else "")
        )
    if arguments.json:
        found = {"new": done.new, "stored": done.stored, "held": done.held, "cancelled": done.cancelled}
        say_json({kind: arguments.name, "state": "disabled", **found})
    else:
        say(_disabled(kind, arguments.name, done))
    return 0 if done.stored else 1


def _disabled(kind: CallerKind, name: str, done: Disabled) -> str:
    what = f"{'disabled' if done.new else 'was disabled already'}: {kind} {name}"
    if not done.stored:
        return what
    cancelled = f", {done.cancelled} cancelled" if done.cancelled else ""
    return f"{what}; {_transactions(done.held)} held{cancelled}"


def enable(arguments: argparse.Namespace) -> int:
    """Let a client or partner in again, and what was held of it go on."""
    kind: CallerKind = arguments.kind
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = services.callers.enable(kind, arguments.name, actor=started.actor)
    if done.partner_disabled:
        complain("its partner is disabled: the client is not let in before that is enabled, too")
    if arguments.json:
        found = {"new": done.new, "released": done.released, "partner_disabled": done.partner_disabled}
        say_json({kind: arguments.name, "state": "enabled", **found})
    else:
        say(_enabled(kind, arguments.name, done))
    return 0


def _enabled(kind: CallerKind, name: str, done: Enabled) -> str:
    what = f"{'enabled' if done.new else 'was enabled already'}: {kind} {name}"
    return f"{what}; {_transactions(done.released)} released"


def _transactions(count: int) -> str:
    return "1 transaction" if count == 1 else f"{count} transactions"


def _warn_of_unknown(services: Services, kind: CallerKind, name: str) -> None:
    # It may have been in an earlier catalog, so this is done all the same; but it may be a slip of the keyboard.
    catalog = services.catalog()
    if name not in (catalog.clients if kind == "client" else catalog.partners):
        complain(f"the catalog in force has no {kind} {name!r}; it is disabled all the same")
