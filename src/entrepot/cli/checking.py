"""``entrepot check``: every mistake in settings and catalog files, without touching the store or an upstream."""

from __future__ import annotations

import argparse

from entrepot.chassis.errors import Error
from entrepot.cli.output import report, say
from entrepot.declarative.document import check_files
from entrepot.settings import load_settings


def check(arguments: argparse.Namespace) -> int:
    """Check the settings and, unless they alone are asked for, catalog files; 1 when anything is wrong."""
    if arguments.settings_only == bool(arguments.files):
        arguments.parser.error("catalog files are needed, or else --settings-only")
    right = [_settings(arguments)]
    if arguments.files:
        right.append(_catalog(arguments))
    return 0 if all(right) else 1


def _settings(arguments: argparse.Namespace) -> bool:
    try:
        load_settings(arguments.settings)
    except Error as error:
        report(error)
        return False
    if arguments.settings_only:
        say("the settings are right")
    return True


def _catalog(arguments: argparse.Namespace) -> bool:
    try:
        catalog = check_files(arguments.files).catalog
    except Error as error:
        report(error)
        return False
    counts = {
        "upstream": len(catalog.upstreams),
        "endpoint": len(catalog.endpoints),
        "partner": len(catalog.partners),
        "client": len(catalog.clients),
    }
    words = (f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items())
    say(f"the catalog is right: {', '.join(words)}")
    return True
