"""systemd, as far as a daemon has something to tell it (sd_notify(3)). Without systemd nothing is told."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

MICRO = 1_000_000
# Beside what a stop may take by the settings: to end workers by force, and to come to an end.
STOP_GRACE_S = 15.0


class Supervisor:
    """Whoever started this process, told by datagrams; none is waited for, and none that is lost does harm.

    The variables are taken out of *environ*, so that neither gunicorn nor a child says anything for this process.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        # A name that begins with @ is an abstract one (unix(7)).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        is_watched = environ.pop("WATCHDOG_PID", "") == str(os.getpid())
        self.watchdog_s = int(environ.pop("WATCHDOG_USEC", "0")) / MICRO if is_watched else 0.0
        """How often it wants to hear that this process works; 0 when it does not want to."""

    def ready(self, status: str) -> None:
        """Tell that this process serves, and that its state is *status*."""
        self._tell("READY=1", f"STATUS={status}")

    def works(self) -> None:
        """Tell that this process works; without it systemd ends it after ``watchdog_s``."""
        if self.watchdog_s:
            self._tell("WATCHDOG=1")

    def status(self, status: str) -> None:
        """Tell people, by ``systemctl status``, what is the matter."""
        self._tell(f"STATUS={status}")

    def stopping(self, within_s: float) -> None:
        """Tell that this process stops, which may take *within_s*."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((within_s + STOP_GRACE_S) * MICRO)}")

    def _tell(self, *facts: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto("\n".join(facts).encode(), self._address)
            except OSError:
                return
