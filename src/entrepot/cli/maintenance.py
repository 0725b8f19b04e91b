"""``entrepot maintenance``: hold back all deliveries, and go on."""

from __future__ import annotations

import argparse
from typing import Any

from entrepot.cli.output import say, say_json
from entrepot.cli.startup import start
from entrepot.cli.times import lifetime_s, moment_text
from entrepot.ledger.entries import Hold
from entrepot.services import Services

LONGEST_S = 366 * 86_400.0


def on(arguments: argparse.Namespace) -> int:
    """Hold back all deliveries from now on."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        until = _until(arguments, services.ledger.clock())
        services.ledger.begin_maintenance(until, actor=started.actor)
        hold, in_flight = services.ledger.maintenance(), services.ledger.in_flight()
    _say(arguments, hold, in_flight)
    return 0 if hold is not None else 1


def off(arguments: argparse.Namespace) -> int:
    """Deliver again."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        was_on = services.ledger.end_maintenance(actor=started.actor)
    if arguments.json:
        say_json({**_document(None), "was_on": was_on})
    else:
        say("maintenance is off" if was_on else "maintenance was off already")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Say whether deliveries are held back."""
    with Services.from_settings(start(arguments).settings) as services:
        hold, in_flight = services.ledger.maintenance(), services.ledger.in_flight()
    _say(arguments, hold, in_flight)
    return 0


def sentence(hold: Hold | None) -> str:
    """Return what there is to say of maintenance."""
    if hold is None:
        return "off"
    until = "until it is ended" if hold.until is None else f"until {moment_text(hold.until)}"
    return f"on since {moment_text(hold.since)}, {until}, {hold.detail}"


def _until(arguments: argparse.Namespace, now: float) -> float | None:
    if arguments.until is None:
        return None
    try:
        lasts_s = lifetime_s(arguments.until, now)
    except ValueError as exc:
        arguments.parser.error(f"argument --until: {exc}")
    if not 0 < lasts_s <= LONGEST_S:
        arguments.parser.error("argument --until: must be in the future, and at most a year ahead")
    return now + lasts_s


def _say(arguments: argparse.Namespace, hold: Hold | None, in_flight: int) -> None:
    if arguments.json:
        say_json({**_document(hold), "in_flight": in_flight})
    else:
        say(f"maintenance is {sentence(hold)}" + (f"; in flight: {in_flight}" if hold is not None else ""))


def _document(hold: Hold | None) -> dict[str, Any]:
    return {
        "maintenance": hold is not None,
        "since": moment_text(hold.since) if hold else None,
        "until": moment_text(hold.until) if hold and hold.until is not None else None,
        "detail": hold.detail if hold else None,
    }
