"""All daemons in the foreground, each a child process: for a host without systemd."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from entrepot.daemons.signals import let_through

log = logging.getLogger(__name__)

DAEMONS = ("gateway", "portal", "console", "courier")
LOOK_S = 0.1
# Each daemon ends what is in flight in a time of its own, which the settings give.
GRACE_S = 15.0
# -P: whatever lies in the present directory must not pass for a module.
_PROGRAM = [sys.executable, "-P", "-m", "entrepot.cli.main"]
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
"""Of ``prctl``, from <linux/prctl.h>."""


class Children:
    """The daemons, started with the settings at *path* (None: the usual ones). They stop when this process is gone."""

    def __init__(self, path: Path | None) -> None:
        options = [] if path is None else ["--settings", str(path)]
        # Groups of their own, so that Ctrl-C reaches this process alone, which then stops them in good order.
        self._all = {
            name: subprocess.Popen(  # noqa: S603 - our own program
                [*_PROGRAM, "run", name, *options], process_group=0,
                preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - there are no threads here
            )
            for name in DAEMONS
        }  # fmt: skip

    def ended(self) -> tuple[str, int] | None:
        """Return name and exit code of a daemon that has ended, None while all run."""
        for name, child in self._all.items():
            code = child.poll()
            if code is not None:
                return name, code
        return None

    def send(self, number: int) -> None:
        """Send the signal *number* to all that run."""
        for child in self._all.values():
            if child.poll() is None:
                child.send_signal(number)

    def stop(self, patience_s: float) -> int:
        """Stop all, after *patience_s* by force, and return the worst exit code."""
        self.send(signal.SIGTERM)
        until = time.monotonic() + patience_s
        for name, child in self._all.items():
            try:
                child.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("a daemon does not end and is killed", extra={"daemon": name})
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        return max(exit_code(child.returncode) for child in self._all.values())


class _Asked:
    """What this process was told by signals."""

    def __init__(self) -> None:
        self.stop = self.reload = False
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._take)

    def _take(self, number: int, _frame: object) -> None:
        self.reload = self.reload or number == signal.SIGHUP
        self.stop = self.stop or number != signal.SIGHUP


def main(path: Path | None, grace_s: float) -> int:
    """Run all daemons until told to stop, or until one of them ends; return 0, or the worst of their exit codes.

    One that ends by itself is a failure whatever its own code. *grace_s* is what the settings give the slowest to end.
    """
    asked = _Asked()
    # Their signals are held back as this one's are, until they hear them themselves.
    children = Children(path)
    let_through()
    ended = None
    while not asked.stop and ended is None:
        time.sleep(LOOK_S)
        if asked.reload:
            asked.reload = False
            children.send(signal.SIGHUP)
        ended = children.ended()
    if ended is not None:
        log.error("a daemon has ended, the others are stopped", extra={"daemon": ended[0], "code": ended[1]})
    worst = children.stop(grace_s + GRACE_S)
    return worst if ended is None else max(worst, 1)


def end_with(parent: int) -> None:
    """Let this process, a child of *parent*, get SIGTERM when that is gone; if it is gone already, end at once."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        os._exit(0)


def exit_code(code: int) -> int:
    """Return *code* of a child as this process would exit with it: 128 and the signal that killed it."""
    return code if code >= 0 else 128 - code
