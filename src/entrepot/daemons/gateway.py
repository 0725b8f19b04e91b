"""The data plane in the foreground: gunicorn's master with our worker class."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from math import ceil
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from entrepot.chassis.errors import Error
from entrepot.chassis.metrics import retire
from entrepot.chassis.shared import SharedState
from entrepot.gateway.worker import GatewayWorker
from entrepot.services import Services
from entrepot.settings import Settings

log = logging.getLogger(__name__)

HEARTBEAT_TIMEOUT_S = 30
BACKLOG = 2048


class MasterLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own log, in the format and at the place of every other."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's settings do not decide here
        """Hand everything on to the root logger."""
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)
        self.access_log.propagate = False


class GatewayApplication(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Tells gunicorn how to run the gateway. *load_settings* is called at the start and on every reload."""

    def __init__(self, load_settings: Callable[[], Settings]) -> None:
        self._load_settings = load_settings
        self.settings = load_settings()
        self.shared: SharedState | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set what gunicorn needs to know from the settings."""
        gateway = self.settings.gateway
        options: dict[str, Any] = {
            "bind": list(gateway.bind),
            "workers": gateway.workers,
            "worker_class": GatewayWorker,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn's heartbeat file must not wait for a disk
            "backlog": BACKLOG,
            "timeout": HEARTBEAT_TIMEOUT_S,
            "graceful_timeout": ceil(gateway.graceful_timeout_s),
            "control_socket_disable": True,
            "proc_name": "entrepot-gateway",
            "child_exit": self._child_exit,
            "logger_class": MasterLog,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Settings:
        """Return what a worker builds its gateway from."""
        return self.settings

    def run(self) -> None:
        """Run the master."""
        Master(self).run()

    def renew(self) -> bool:
        """Take the settings anew; when they are broken, say so and return False."""
        try:
            self.settings = self._load_settings()
            prepare(self.settings)
        except Error as error:
            for mistake in error.errors:
                log.error("%s: %s", mistake.path, mistake.message)
            log.error("the settings are broken, the gateway goes on as it was", extra={"reason": str(error)})
            return False
        self.callable = None
        return True

    def _child_exit(self, _arbiter: object, worker: GatewayWorker) -> None:
        if self.shared is None:
            self.shared = SharedState.open(self.settings.store.directory / "shared")
        self.shared.reap()
        retire(self.settings.store.directory / "metrics", f"gateway-{worker.pid}")


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master, which on a reload touches nothing before the new settings are known to be good."""

    def reload(self) -> None:
        """Replace the workers, unless the settings are broken: then the old ones go on."""
        if self.app.renew():
            super().reload()

    def start(self) -> None:
        """Open the sockets, or take those of systemd, and say so when the settings name others."""
        super().start()
        named, taken = set(self.app.settings.gateway.bind), {_name(listener.sock) for listener in self.LISTENERS}
        if os.environ.get("LISTEN_FDS") and not named & taken:
            log.warning("systemd's sockets decide, [gateway] bind names others", extra={"sockets": ", ".join(taken)})


def _name(sock: socket.socket) -> str:
    address = sock.getsockname()
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return f"unix:{address}"


def prepare(settings: Settings) -> None:
    """Make what a worker needs and cannot make itself: schema, keys, the snapshot of the last revision."""
    with Services.from_settings(settings) as services:
        services.prepare()


def main(load_settings: Callable[[], Settings]) -> int:
    """Run the data plane until it is told to stop; return its exit code."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    application = GatewayApplication(load_settings)
    prepare(application.settings)
    try:
        application.run()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
    return 0
