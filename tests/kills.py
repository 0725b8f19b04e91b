"""Kills at any step of a piece of work."""

import os
import signal
import sys

CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "open", "sqlite3.connect"})
"""The audit events (``sys.audit``) before which a process is killed: those of what changes a disk."""


def killed_at(event, work):
    """Run *work* in a child that is killed at its *event*-th change of the disk; return whether it was."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def look(name, _arguments):
            nonlocal count
            if name in CHANGES:
                count += 1
                if count == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
