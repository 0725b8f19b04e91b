"""``entrepot key``: the keys that tokens are signed with."""

from __future__ import annotations

import argparse
from contextlib import closing

from entrepot.chassis.occupancy import occupy
from entrepot.cli.output import say, say_json, say_table
from entrepot.cli.startup import start
from entrepot.cli.times import moment_text
from entrepot.identity.key_desk import HeldKey
from entrepot.identity.master_mark import forget
from entrepot.services import Services
from entrepot.store import schema
from entrepot.store.engine import open_database


def show(arguments: argparse.Namespace) -> int:
    """List the keys, the newest first: which one signs, and until when the others are needed."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        rows = [_row(key) for key in services.keys.listed()]
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(rows[0]), *(list(row.values()) for row in rows)])
    return 0


def _row(key: HeldKey) -> dict[str, str | None]:
    return {
        "kid": key.kid,
        "state": key.state,
        "made": moment_text(key.made_at),
        "rotates": None if key.due_at is None else moment_text(key.due_at),
        "needed until": None if key.ends_at is None else moment_text(key.ends_at),
    }


def forget_master(arguments: argparse.Namespace) -> int:
    """Forget which master key the store has, so that the next one is taken: what depends on the former is void."""
    started = start(arguments)
    directory = started.settings.store.directory
    # Without the services, which may not come up: the present key is another one.
    occupant = occupy(directory)
    with closing(occupant), closing(open_database(started.settings.store.url)) as database:
        schema.prepare(database)
        had_one = forget(database, directory, actor=started.actor)
    if arguments.json:
        say_json({"forgotten": had_one})
    elif had_one:
        say("the next master key that is used is that of the store; what depends on the former is void")
    else:
        say("the store has no master key yet")
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """Sign with a new key from now on; remove keys whose tokens have all ended."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        new = services.keys.rotate_when_due() if arguments.due else services.keys.rotate(actor=started.actor)
        removed = services.keys.prune()
    if arguments.json:
        say_json({"kid": new, "removed": removed})
        return 0
    say("the key is not due" if new is None else f"tokens are signed from now on with the key {new}")
    for kid in removed:
        say(f"removed, its tokens have ended: {kid}")
    return 0
