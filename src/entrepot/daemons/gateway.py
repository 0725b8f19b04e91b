"""The data plane in the foreground: gunicorn's master with our worker class."""

from __future__ import annotations

import logging
import os
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from entrepot.chassis import memory
from entrepot.chassis.log import setup_logging
from entrepot.chassis.metrics import retire
from entrepot.chassis.shared import Counter, SharedState
from entrepot.daemons.master import Master, mark_booted, mark_unbooted
from entrepot.errors import StoreUnavailable
from entrepot.gateway.worker import GatewayWorker
from entrepot.ledger.intake import Intake
from entrepot.services import Services
from entrepot.settings import Settings
from entrepot.store.engine import Database, open_database

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

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log what gunicorn tells of itself when all goes well: for those who look for a fault of ours."""
        self.debug(msg, *args, **kwargs)


class OwnIntake(Intake):
    """An intake with a database of its own."""

    def __init__(self, database: Database, loop: AbstractEventLoop, counter: Counter, kept_bytes: int) -> None:
        super().__init__(database, loop, wake=partial(_bump, counter), kept_bytes=kept_bytes)
        self._own = database

    def close(self) -> None:
        """Finish what was submitted, and close the database."""
        super().close()
        self._own.close()


def _bump(counter: Counter) -> None:
    counter.bump()


class GatewayApplication(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Tells gunicorn how to run the gateway. *load_settings* is called at the start and on every reload."""

    section = "gateway"

    def __init__(self, load_settings: Callable[[], Settings]) -> None:
        self._load_settings = load_settings
        self.settings = load_settings()
        self._shared: SharedState | None = None
        super().__init__()

    @property
    def bind(self) -> tuple[str, ...]:
        """The addresses that the settings name."""
        return self.settings.gateway.bind

    def load_config(self) -> None:
        """Make gunicorn's configuration from the settings."""
        self.cfg = self.configuration(self.settings)

    def configuration(self, settings: Settings) -> Config:
        """Return what gunicorn needs to know of *settings*."""
        gateway = settings.gateway
        options: dict[str, Any] = {
            "bind": list(gateway.bind),
            "workers": gateway.workers,
            "worker_class": GatewayWorker,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn's heartbeat file must not wait for a disk
            "backlog": BACKLOG,
            "timeout": HEARTBEAT_TIMEOUT_S,
            "graceful_timeout": ceil(gateway.graceful_timeout_s),
            "control_socket_disable": True,
            # gunicorn's own defaults are those of the moment it was imported: root's, when root started the program.
            "user": os.geteuid(),
            "group": os.getegid(),
            "proc_name": "entrepot-gateway",
            "pre_fork": _before_fork,
            "post_worker_init": mark_booted,
            "child_exit": self._child_exit,
            "logger_class": MasterLog,
        }
        config = Config()
        for name, value in options.items():
            config.set(name, value)
        return config

    def load(self) -> Settings:
        """Return what a worker builds its gateway from."""
        return self.settings

    def open_intake(self, shared: SharedState, loop: AbstractEventLoop) -> Intake:
        """Open the database in a worker and return its intake of the ledger, which wakes couriers by *shared*.

        Raises StoreUnavailable.
        """
        settings = self.settings
        database = open_database(settings.store.url)
        return OwnIntake(database, loop, shared.counter("ledger"), settings.ledger.kept_bytes)

    def run(self) -> None:
        """Run the master."""
        Master(self).run()

    def renewed(self) -> Settings:
        """Return the settings of this moment, with all prepared that their workers need. Raises what is wrong."""
        settings = self._load_settings()
        prepare(settings)
        return settings

    def take(self, settings: Settings, config: Config) -> None:
        """Go on with *settings*, and *config* which follows from them."""
        self.settings, self.cfg = settings, config
        self.callable = self._shared = None

    def _child_exit(self, master: Master, worker: GatewayWorker) -> None:
        master.worker_gone(worker)
        directory = self.settings.store.directory
        retire(directory / "metrics", f"gateway-{worker.pid}")
        try:
            if self._shared is None:
                self._shared = SharedState.open(directory / "shared")
            self._shared.reap()
        except Exception:  # the other workers do this too, once a second
            log.exception("what a worker held in the shared state could not be freed")


def _before_fork(_master: object, worker: GatewayWorker) -> None:
    mark_unbooted(worker)


def prepare(settings: Settings) -> None:
    """Make what a worker needs and cannot make itself: schema, keys, the snapshot of the last revision."""
    with Services.from_settings(settings) as services:
        try:
            services.prepare()
        except StoreUnavailable as error:
            log.warning("the database went away, the last good catalog is served", extra={"reason": str(error)})
    # A million revocations take some 200 MiB on their way; every worker would begin with what is left of that.
    memory.give_back()


def main(load_settings: Callable[[], Settings]) -> int:
    """Run the data plane until it is told to stop; return its exit code."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    application = GatewayApplication(load_settings)
    # From here on nobody may be kept waiting because of whoever reads the log.
    log_settings = application.settings.log
    setup_logging(log_settings.level, log_settings.target, patient=False, identifier="entrepot-gateway")
    prepare(application.settings)
    try:
        application.run()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
    return 0
