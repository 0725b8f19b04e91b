"""``entrepot run``: a daemon in the foreground, or all of them."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from entrepot.chassis.log import setup_logging
from entrepot.cli.owner import become_owner
from entrepot.daemons.signals import hold_back
from entrepot.settings import Settings, load_settings


def run(arguments: argparse.Namespace) -> int:
    """Run what *arguments* name until it is told to stop."""
    hold_back()
    # Not before: it takes a while, in which the signals would end this process.
    daemon: Any = import_module(f"entrepot.daemons.{arguments.daemon}")

    def settings() -> Settings:
        return load_settings(arguments.settings)

    first = settings()
    setup_logging(first.log.level, first.log.target, identifier=f"entrepot-{arguments.daemon}")
    become_owner(first.store.directory)
    if arguments.daemon == "all":
        parts = (first.gateway, first.portal, first.console, first.courier)
        grace_s = max(part.graceful_timeout_s for part in parts)
        return int(daemon.main(arguments.settings, grace_s))
    return int(daemon.main(settings))
