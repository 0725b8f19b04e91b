"""gunicorn's master, made to stay: no worker that cannot start, no reload and no full disk ends the whole daemon."""

from __future__ import annotations

import logging
import mmap
import signal
from time import monotonic
from typing import Any

from gunicorn import sock as sockets
from gunicorn.arbiter import Arbiter

from entrepot.chassis.errors import Error
from entrepot.chassis.log import flush_log
from entrepot.daemons.refusal import Refusal
from entrepot.daemons.signals import let_through
from entrepot.daemons.supervisor import Supervisor
from entrepot.errors import SettingsError
from entrepot.gateway.worker import STOPS, address_of

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
BOOT_LOOK_S = 0.05
NO_EXIT_CODE = -1


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Starts and ends workers; its application gives it settings that are known to be good.

    A daemon none of whose workers has ever started ends, as gunicorn has it. From the first good start on, a worker
    that cannot start is tried again, after 1 s, then 2 s, at most 30 s.
    """

    def __init__(self, app: Any) -> None:
        self._wait_s = 0.0
        self._not_before = 0.0
        self._reloaded_age = 0
        # Before gunicorn starts, which else says that it is ready before a worker is.
        self._supervisor = Supervisor()
        self._status = ""
        self._refusal = Refusal()
        super().__init__(app)

    def start(self) -> None:
        """Open the sockets, or take those of systemd, and say so when the settings name others."""
        super().start()
        let_through()
        if self.systemd and not set(self.app.bind) & set(self._taken()):
            log.warning("systemd's sockets decide, bind names others", extra=self._facts())

    def stop(self, graceful: bool = True) -> None:
        """End all workers; one that fails to start meanwhile is no reason to end otherwise."""
        self._supervisor.stopping(self.cfg.graceful_timeout)
        self._endure()
        super().stop(graceful)

    def _taken(self) -> list[str]:
        return [address_of(listener.sock) for listener in self.LISTENERS]

    def _facts(self) -> dict[str, str]:
        return {"section": self.app.section, "sockets": ", ".join(self._taken())}

    # -- workers

    def manage_workers(self) -> None:
        """Start the workers that are missing, and end the oldest of those that serve beyond the wanted number.

        After a reload the old ones serve until as many new ones do. Called once a second at least.
        """
        flush_log()
        self.spawn_workers()
        serving = sorted(filter(has_booted, self.WORKERS.values()), key=lambda each: each.age)
        for worker in serving[: max(0, len(serving) - self.num_workers)]:
            self.kill_worker(worker.pid, signal.SIGTERM)
        self._report(serving)

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """Return the signals that came within *timeout*; less until the first worker serves, which is then told."""
        signals: list[int] = super().wait_for_signals(timeout if self._status else min(timeout, BOOT_LOOK_S))
        return signals

    def _report(self, serving: list[Any]) -> None:
        """Tell systemd how many of the workers are *serving*, and that this process works as long as one of them does.

        A master that goes round while all of its workers hang is of no use to anybody.
        """
        if serving:
            status = f"{len(serving)} of {self.num_workers} workers serve"
            if self._refusal.text:
                status = f"{status}; {self._refusal.text}"
            if status != self._status:
                if self._status:
                    self._supervisor.status(status)
                else:
                    log.info("%s serves", self.app.section, extra=self._facts())
                    self._supervisor.ready(status)
                self._status = status
        now = monotonic()
        if any(now - worker.tmp.last_update() <= self.timeout for worker in serving):
            self._supervisor.works()

    def spawn_workers(self) -> None:
        """Start the workers that are missing, unless the last one could not start and it is not time to try again."""
        present = [worker for worker in self.WORKERS.values() if worker.age > self._reloaded_age]
        missing = self.num_workers - len(present)
        if missing <= 0 and all(map(has_booted, present)):
            self._wait_s = 0.0
        if monotonic() >= self._not_before:
            for _ in range(missing):
                self.spawn_worker()

    def spawn_worker(self) -> Any:
        """Start a worker. Signals that stop it wait until its loop runs, which lets them through."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def reap_workers(self) -> None:
        """Take note of the workers that have ended."""
        if any(map(has_booted, self.WORKERS.values())):
            self._endure()
        super().reap_workers()

    def worker_gone(self, worker: Any) -> None:
        """Let some time pass when *worker* has never served: what was in its way may be there still."""
        now = monotonic()
        if not has_booted(worker) and now >= self._not_before:
            self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2 or FIRST_WAIT_S)
            self._not_before = now + self._wait_s
            log.error("a worker could not start, it is tried again", extra={"retry_s": self._wait_s})

    def _endure(self) -> None:
        # gunicorn ends for a worker that exits with one of these; 0 to 255 are what an exit code can be.
        self.WORKER_BOOT_ERROR = self.APP_LOAD_ERROR = NO_EXIT_CODE

    # -- reload

    def reload(self) -> None:
        """Replace settings, sockets and workers; when something is wrong with the new, all goes on as it was."""
        try:
            settings = self.app.renewed()
            config = self.app.configuration(settings)
            listeners = self._listeners(config)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the partners are served on
            reason, metrics = _explain(exc, self.app.section), self.app.settings.store.directory / "metrics"
            self._refusal.note(reason, self.app.section, metrics)
            return
        for listener in self.LISTENERS:
            if listener not in listeners:
                listener.close()
        self.LISTENERS: list[Any] = listeners
        self.app.take(settings, config)
        self.setup(self.app)
        self._reloaded_age = self.worker_age
        self._wait_s = self._not_before = 0.0
        self._refusal.end()
        self.manage_workers()

    def _listeners(self, config: Any) -> list[Any]:
        """Return the sockets of *config*: those that are open stay so, new ones are bound. Raises SettingsError."""
        if self.systemd:
            return list(self.LISTENERS)
        known = {listener.cfg_addr: listener for listener in self.LISTENERS}
        fresh: dict[Any, Any] = {}
        try:
            for address in config.address:
                if address not in known:
                    # Not gunicorn's create_sockets, which tries for five seconds and then ends the process.
                    fresh[address] = sockets._sock_type(address)(address, config, self.log)  # noqa: SLF001
        except (OSError, ValueError) as exc:
            for listener in fresh.values():
                listener.close()
            raise SettingsError(f"[{self.app.section}] bind: {address} cannot be taken: {exc}") from exc
        return [(known | fresh)[address] for address in config.address]


def mark_unbooted(worker: Any) -> None:
    """Give *worker* a mark that its process and the master share; for before the fork."""
    worker.boot_mark = mmap.mmap(-1, 1)


def mark_booted(worker: Any) -> None:
    """Say that *worker*, in whose process this is, is ready to serve."""
    # Until its first heartbeat gunicorn has the time of day for it, which no clock since boot ever reaches: one that
    # hung before that would be taken for a good one for ever (gunicorn/workers/workertmp.py, last_update).
    worker.notify()
    worker.boot_mark[0] = 1


def has_booted(worker: Any) -> bool:
    """Tell whether *worker* has ever been ready to serve."""
    return bool(worker.boot_mark[0])


def _explain(exc: Exception, daemon: str) -> str:
    """Log why the settings cannot be used, and return it."""
    for mistake in exc.errors if isinstance(exc, Error) else ():
        log.error("%s: %s", mistake.path, mistake.message)
    reason = str(exc) if isinstance(exc, Error) else f"{type(exc).__name__}: {exc}"
    log.error("the settings cannot be used, the %s goes on as it was", daemon, extra={"reason": reason})
    return reason
