"""A Flask face in the foreground: gunicorn's master, and workers that serve each request on one of their threads."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from entrepot.chassis.log import flush_log, setup_logging
from entrepot.chassis.operation import current_operation_id
from entrepot.daemons.gateway import BACKLOG, HEARTBEAT_TIMEOUT_S, MasterLog
from entrepot.daemons.master import Master, mark_booted, mark_unbooted
from entrepot.gateway.worker import STOPS
from entrepot.settings import Settings

# Longer than whoever calls keeps a connection without a request (``Patience.idle_s``, and proxies), so that no request
# meets a connection that is just being closed.
KEEPALIVE_S = 75
MAX_CONNECTIONS = 1000
# What it binds is for its owner alone.
PRIVATE = 0o177


@dataclass(frozen=True, slots=True)
class Face:
    """How a face is run: *name* is that of its section, the rest is what stands there."""

    name: str
    bind: tuple[str, ...]
    workers: int
    threads: int
    graceful_timeout_s: float


class FaceWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves until it is told to stop."""

    def load_wsgi(self) -> None:
        """Build the application in this process: nothing of it is inherited over the fork but the settings."""
        settings: Settings = self.app.settings
        current_operation_id.set(None)
        log_settings, identifier = settings.log, f"entrepot-{self.app.section}"
        setup_logging(log_settings.level, log_settings.target, patient=False, identifier=identifier)
        super().load_wsgi()

    def notify(self) -> None:
        """Tell the master that this worker lives; called once a second at least."""
        super().notify()
        flush_log()


class FaceApplication(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Tells gunicorn how to run a face. *load_settings* is called at the start and on every reload."""

    def __init__(
        self,
        load_settings: Callable[[], Settings],
        face: Callable[[Settings], Face],
        create: Callable[[Settings], Flask],
    ) -> None:
        self._load_settings = load_settings
        self._face = face
        self._create = create
        self.settings = load_settings()
        super().__init__()

    @property
    def section(self) -> str:
        """The section of the settings that says how the face is run."""
        return self._face(self.settings).name

    @property
    def bind(self) -> tuple[str, ...]:
        """The addresses that the settings name."""
        return self._face(self.settings).bind

    def load_config(self) -> None:
        """Make gunicorn's configuration from the settings."""
        self.cfg = self.configuration(self.settings)

    def configuration(self, settings: Settings) -> Config:
        """Return what gunicorn needs to know of *settings*."""
        face = self._face(settings)
        options: dict[str, Any] = {
            "bind": list(face.bind),
            "umask": PRIVATE,
            "workers": face.workers,
            "threads": face.threads,
            "worker_class": FaceWorker,
            "worker_connections": MAX_CONNECTIONS,
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn's heartbeat file must not wait for a disk
            "keepalive": KEEPALIVE_S,
            "backlog": BACKLOG,
            "timeout": HEARTBEAT_TIMEOUT_S,
            "graceful_timeout": ceil(face.graceful_timeout_s),
            "control_socket_disable": True,
            # A caller must not be able to say where the application is mounted.
            "forwarder_headers": "",
            # gunicorn's own defaults are those of the moment it was imported: root's, when root started the program.
            "user": os.geteuid(),
            "group": os.getegid(),
            "proc_name": f"entrepot-{face.name}",
            "pre_fork": _before_fork,
            "post_worker_init": _begin,
            "worker_exit": _end,
            "child_exit": _note_end,
            "logger_class": MasterLog,
        }
        config = Config()
        for name, value in options.items():
            config.set(name, value)
        return config

    def load(self) -> Flask:
        """Return the application; called in a worker."""
        return self._create(self.settings)

    def run(self) -> None:
        """Run the master."""
        Master(self).run()

    def renewed(self) -> Settings:
        """Return the settings of this moment. Raises what is wrong."""
        return self._load_settings()

    def take(self, settings: Settings, config: Config) -> None:
        """Go on with *settings*, and *config* which follows from them."""
        self.settings, self.cfg = settings, config
        self.callable = None


def _before_fork(_master: object, worker: FaceWorker) -> None:
    mark_unbooted(worker)


def _begin(worker: FaceWorker) -> None:
    # The master has blocked them, because until now nobody would have heard them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    mark_booted(worker)


def _end(_master: object, worker: FaceWorker) -> None:
    # A worker that could not start has no application.
    if worker.wsgi is not None:
        worker.wsgi.extensions["entrepot"].close()


def _note_end(master: Master, worker: FaceWorker) -> None:
    master.worker_gone(worker)


def main(
    load_settings: Callable[[], Settings], face: Callable[[Settings], Face], create: Callable[[Settings], Flask]
) -> int:
    """Run *face*, whose workers serve what *create* makes, until it is told to stop; return its exit code."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    application = FaceApplication(load_settings, face, create)
    # From here on nobody may be kept waiting because of whoever reads the log.
    log_settings, identifier = application.settings.log, f"entrepot-{application.section}"
    setup_logging(log_settings.level, log_settings.target, patient=False, identifier=identifier)
    try:
        application.run()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
    return 0
