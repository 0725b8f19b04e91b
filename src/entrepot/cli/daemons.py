"""``entrepot run``: a daemon in the foreground."""

from __future__ import annotations

import argparse

from entrepot.chassis.log import setup_logging
from entrepot.cli.owner import become_owner
from entrepot.daemons import gateway
from entrepot.settings import Settings, load_settings


def run(arguments: argparse.Namespace) -> int:
    """Run the gateway, which is all the daemons that there are yet, until it is told to stop."""

    def settings() -> Settings:
        return load_settings(arguments.settings)

    first = settings()
    setup_logging(first.log.level, first.log.target)
    become_owner(first.store.directory)
    return gateway.main(settings)
