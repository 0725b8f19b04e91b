"""A command that root runs goes on as the owner of the store, so that the daemon can use what it leaves there."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from entrepot.chassis.errors import Mistake

# Where the packages put one of the units; all of them run as this user.
UNIT = Path("/lib/systemd/system/entrepot-gateway.service")
UNITS_USER = "entrepot"
# systemd makes it for the units, and gives it to their user (StateDirectory).
STATE_DIRECTORY = Path("/var/lib/entrepot")


def become_owner(directory: Path) -> None:
    """Continue as the owner of *directory* when root runs this process; one that is missing is the units' to make."""
    if os.geteuid() != 0:
        return
    try:
        status = directory.stat()
    except FileNotFoundError:
        become_units_user(directory)
        return
    if status.st_uid != 0:
        _become(status.st_uid, status.st_gid)


def become_units_user(directory: Path) -> None:
    """Continue as the user of the packaged units when root runs this process: a store of root's is of no use to them.

    Without the package, and for the *directory* that systemd makes, this changes nothing.
    """
    if os.geteuid() != 0 or directory == STATE_DIRECTORY or not UNIT.exists():
        return
    try:
        user = pwd.getpwnam(UNITS_USER)
    except KeyError:
        return
    _become(user.pw_uid, user.pw_gid)


def unwritable(directory: Path) -> Iterator[Mistake]:
    """Yield a mistake when this process can neither write the store's *directory* nor, when it is missing, make it."""
    nearest = next(path for path in (directory, *directory.parents) if os.access(path, os.F_OK))
    if not os.access(nearest, os.W_OK | os.X_OK):
        done = "write" if nearest == directory else "make" if os.access(nearest, os.X_OK) else "reach"
        yield Mistake(f"[store] directory: the user {user_name()} cannot {done} {directory}")


def user_name() -> str:
    """Return the name of the user who runs this process, or its number when it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _become(user_id: int, group_id: int) -> None:
    name, home, groups = "", "/", [group_id]
    try:
        user = pwd.getpwuid(user_id)
    except KeyError:
        # A container may give the directory to a number that has no name.
        pass
    else:
        name, home, group_id = user.pw_name, user.pw_dir, user.pw_gid
        groups = os.getgrouplist(name, group_id)
    os.setgroups(groups)
    os.setgid(group_id)
    os.setuid(user_id)
    os.environ.update(HOME=home, USER=name, LOGNAME=name)
