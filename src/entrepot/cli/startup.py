"""What commands have in common before their work: settings, log, and whose rights they run with."""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.chassis.errors import Mistake
from entrepot.chassis.log import setup_logging
from entrepot.chassis.operation import current_operation_id
from entrepot.cli.owner import become_owner, unwritable, user_name
from entrepot.errors import CatalogError, SettingsError
from entrepot.settings import Settings, load_settings
from entrepot.store.audit import Actor


@dataclass(frozen=True, slots=True)
class Started:
    """What a command runs with: its settings, and *actor*, who typed it, for what is written down."""

    settings: Settings
    actor: Actor


def start(arguments: argparse.Namespace) -> Started:
    """Load the settings that *arguments* name; from here on the process belongs to the store's owner, or who is to be.

    The log of a command goes to standard error, and says warnings only unless ``[log] level`` is debug.
    Raises SettingsError, also for a store that is missing and cannot be made, and CatalogError for catalog files that
    root may read and the owner may not.
    """
    settings = load_settings(arguments.settings)
    setup_logging("debug" if settings.log.level == "debug" else "warning", "stderr")
    actor = Actor(f"{_user()} (command line)", "command", current_operation_id.get() or "")
    readable = _readable(getattr(arguments, "files", ()))
    directory = settings.store.directory
    become_owner(directory)
    if not os.access(directory, os.F_OK) and (mistakes := list(unwritable(directory))):
        raise SettingsError("the store cannot be made", errors=mistakes)
    lost = set(readable) - set(_readable(readable))
    if lost:
        reason = f"the user {user_name()}, as whom this goes on, cannot read it"
        errors = [Mistake(reason, str(path)) for path in readable if path in lost]
        raise CatalogError(f"{len(lost)} catalog files cannot be read", errors=errors)
    return Started(settings, actor)


def _readable(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if os.access(path, os.R_OK)]


def _user() -> str:
    name = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    try:
        return name or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
