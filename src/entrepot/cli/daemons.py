"""``entrepot run``: a daemon in the foreground, or all of them."""

from __future__ import annotations

import argparse

from entrepot.chassis.log import setup_logging
from entrepot.cli.owner import become_owner
from entrepot.daemons import all as every
from entrepot.daemons import courier, gateway
from entrepot.settings import Settings, load_settings


def run(arguments: argparse.Namespace) -> int:
    """Run what *arguments* name until it is told to stop."""

    def settings() -> Settings:
        return load_settings(arguments.settings)

    first = settings()
    setup_logging(first.log.level, first.log.target)
    become_owner(first.store.directory)
    if arguments.daemon == "all":
        return every.main(arguments.settings, max(first.gateway.graceful_timeout_s, first.courier.graceful_timeout_s))
    if arguments.daemon == "courier":
        return courier.main(settings)
    return gateway.main(settings)
