"""What commands have in common before their work: settings, log, and whose rights they run with."""

from __future__ import annotations

import argparse

from entrepot.chassis.log import setup_logging
from entrepot.cli.owner import become_owner
from entrepot.settings import Settings, load_settings


def start(arguments: argparse.Namespace) -> Settings:
    """Return the settings that *arguments* name; from here on the process belongs to the store's owner.

    The log of a command goes to standard error, and says warnings only unless ``[log] level`` is debug.
    Raises SettingsError.
    """
    settings = load_settings(arguments.settings)
    setup_logging("debug" if settings.log.level == "debug" else "warning", "stderr")
    become_owner(settings.store.directory)
    return settings
