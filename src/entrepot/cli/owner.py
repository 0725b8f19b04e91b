"""A command that root runs goes on as the owner of the store, so that the daemon can use what it leaves there."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def become_owner(directory: Path) -> None:
    """Continue as the owner of *directory* when root runs this process; a missing directory changes nothing."""
    if os.geteuid() != 0:
        return
    try:
        status = directory.stat()
    except FileNotFoundError:
        return
    if status.st_uid != 0:
        _become(status.st_uid, status.st_gid)


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
