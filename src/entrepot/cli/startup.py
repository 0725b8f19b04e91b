"""What commands have in common before their work: settings, log, and whose rights they run with."""

from __future__ import annotations

import argparse
import os
import pwd
from dataclasses import dataclass

from entrepot.chassis.log import setup_logging
from entrepot.cli.owner import become_owner
from entrepot.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Started:
    """What a command runs with: its settings, and *by*, who typed it, for what is written down."""

    settings: Settings
    by: str


def start(arguments: argparse.Namespace) -> Started:
    """Load the settings that *arguments* name; from here on the process belongs to the store's owner.

    The log of a command goes to standard error, and says warnings only unless ``[log] level`` is debug.
    Raises SettingsError.
    """
    settings = load_settings(arguments.settings)
    setup_logging("debug" if settings.log.level == "debug" else "warning", "stderr")
    by = f"{_user()} (command line)"
    become_owner(settings.store.directory)
    return Started(settings, by)


def _user() -> str:
    name = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    try:
        return name or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
