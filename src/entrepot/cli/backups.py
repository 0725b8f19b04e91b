"""``entrepot db backup`` and ``restore``: all of the store in one file, and back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from entrepot.backup.archive import Manifest
from entrepot.backup.making import Made, make, prune
from entrepot.backup.restoring import Choices, Restored
from entrepot.backup.restoring import restore as restore_store
from entrepot.chassis.occupancy import DirectoryInUse
from entrepot.cli.output import complain, say, say_json
from entrepot.cli.progress import Progress
from entrepot.cli.signals import StopSignals
from entrepot.cli.startup import start
from entrepot.errors import StoreUnavailable

FOLDER = "backups"
_MIB = 1 << 20


def backup(arguments: argparse.Namespace) -> int:
    """Write a backup and say where it is."""
    if arguments.keep is not None and arguments.keep < 1:
        arguments.parser.error("argument --keep: must be at least 1")
    place: Path | None = arguments.place
    if arguments.keep is not None and place is not None and not place.is_dir():
        arguments.parser.error(f"argument --keep: goes with a directory, and {place} is none")
    settings = start(arguments).settings
    if place is None:
        place = settings.store.directory / FOLDER
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What is half made is removed by whoever is interrupted, not by whoever is ended.
    StopSignals()
    with Progress("MiB written") as progress:
        made = make(settings, place, _steps(progress))
    if arguments.keep is not None:
        made = prune(made, arguments.keep)
    _say_made(made, as_json=arguments.json)
    return 0


def _say_made(made: Made, *, as_json: bool) -> None:
    if made.manifest.database != "sqlite":
        complain("the database is in PostgreSQL and not in this file: back it up by pg_dump, before this")
    if as_json:
        removed = [str(path) for path in made.removed]
        say_json({"file": str(made.path), "bytes": made.bytes, **_facts(made.manifest), "removed": removed})
        return
    say(f"backed up to {made.path}, {_size_text(made.bytes)}; the master key is not in it")
    for path in made.removed:
        say(f"removed: {path}")


def restore(arguments: argparse.Namespace) -> int:
    """Put a backup in the place of the store, and say what is to be done next."""
    # Before the process goes on as the owner of the store, who may not read everything that root can.
    with arguments.file.open("rb") as source:
        started = start(arguments)
        choices = Choices(keep_tokens=arguments.keep_tokens, new_keys=arguments.new_keys)
        with Progress("MiB read") as progress:
            try:
                done = restore_store(started.settings, source, choices, _steps(progress), actor=started.actor)
            except DirectoryInUse as error:
                raise StoreUnavailable(
                    f"{error}; nothing was changed. Stop the daemons first: systemctl stop 'entrepot*'"
                ) from error
    for warning in done.warnings:
        complain(f"warning: {warning}")
    _say_restored(done, as_json=arguments.json)
    return 0


def _say_restored(done: Restored, *, as_json: bool) -> None:
    if as_json:
        say_json({**_facts(done.manifest), "held": done.held, "tokens": done.tokens})
        return
    say(f"restored: the store of {done.manifest.host} as it was at {done.manifest.made_at}")
    say(f"{done.held} transactions that were not finished are held: entrepot transactions list --state held")
    if done.tokens == "good":
        say("tokens and API keys that were issued before are good, unless they are known to be revoked")
    else:
        say("tokens and API keys that were issued before are refused; to let them in: entrepot token lift --all")


def _facts(manifest: Manifest) -> dict[str, str]:
    return {
        "made_at": manifest.made_at,
        "host": manifest.host,
        "release": manifest.release,
        "schema": manifest.schema,
        "database": manifest.database,
    }


def _steps(progress: Progress) -> Callable[[int], None]:
    """Return what takes bytes and tells *progress* of whole MiB."""
    rest = 0

    def tell(count: int) -> None:
        nonlocal rest
        mib, rest = divmod(rest + count, _MIB)
        if mib:
            progress.step(mib)

    return tell


def _size_text(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"
