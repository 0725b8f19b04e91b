"""The courier in the foreground."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Thread

import uvloop

from entrepot.chassis.absence import Absence
from entrepot.chassis.log import flush_log, setup_logging
from entrepot.chassis.metrics import Meter
from entrepot.chassis.operation import current_operation_id
from entrepot.chassis.shared import SharedState
from entrepot.courier.courier import Courier
from entrepot.courier.metrics import store_away
from entrepot.daemons.signals import is_stopped, wait_for_stop
from entrepot.daemons.supervisor import Supervisor
from entrepot.errors import StoreUnavailable
from entrepot.services import Services
from entrepot.settings import Settings

log = logging.getLogger(__name__)

STORE_AGAIN_S = 1.0
TEND_S = 600.0
CATCH_UP_S = 1.0
PING_S = 5.0


def main(load_settings: Callable[[], Settings]) -> int:
    """Run a courier until it is told to stop; return its exit code. Stops are held back to the end, and waited for."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A reload is for the gateway; whoever sends it to both must not end this one.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = load_settings()
    # From here on nobody may be kept waiting because of whoever reads the log.
    setup_logging(settings.log.level, settings.log.target, patient=False, identifier="entrepot-courier")
    current_operation_id.set(None)
    supervisor = Supervisor()
    services = _services(settings, supervisor)
    if services is None:
        return 0
    with services, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_deliver(settings, services, supervisor))
    flush_log()
    return 0


def _services(settings: Settings, supervisor: Supervisor) -> Services | None:
    """Return the services of the store as soon as it is there; None when told to stop before that."""
    absence = Absence(log, "the store is not available, it is tried again", "the store is back")
    waiting: Meter | None = None
    while True:
        services = Services.from_settings(settings)
        try:
            services.database  # noqa: B018 - raises when it is away
            services.prepare()
        except StoreUnavailable as error:
            services.close()
            absence.note(error)
            waiting = waiting or _waiting(settings)
            # The store may be away for hours, and whoever starts this is not to wait for that.
            supervisor.ready(f"waits for the store: {error}")
            supervisor.works()
        else:
            absence.end()
            if waiting is not None:
                waiting.close()
            return services
        if is_stopped(STORE_AGAIN_S):
            return None


def _waiting(settings: Settings) -> Meter:
    """Return what says in the metrics that a courier waits for the store, until it is closed."""
    meter = Meter(settings.store.directory / "metrics", f"waiting-{os.getpid()}")
    store_away(meter).labels().set(1)
    meter.flush()
    return meter


async def _deliver(settings: Settings, services: Services, supervisor: Supervisor) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    shared = SharedState.open(settings.store.directory / "shared")
    shared.register()
    courier = Courier(settings, shared, services.database, loop)
    gc.collect()
    gc.freeze()
    hearing = partial(_hear, loop, stop, supervisor, settings.courier.graceful_timeout_s)
    Thread(target=hearing, name="stops", daemon=True).start()
    ended = Event()
    Thread(target=_tend, args=(services, ended), name="tending", daemon=True).start()
    log.info("courier delivers", extra={"courier": courier.name})
    supervisor.ready("delivers")
    _ping(loop, supervisor)
    try:
        await courier.run(stop)
    finally:
        ended.set()
        shared.close()
    log.info("courier has ended", extra={"courier": courier.name})


def _ping(loop: asyncio.AbstractEventLoop, supervisor: Supervisor) -> None:
    supervisor.works()
    loop.call_later(PING_S, _ping, loop, supervisor)


def _tend(services: Services, ended: Event) -> None:
    tend_at, caught_up = time.monotonic() + TEND_S, None
    absence = Absence(log, "the store cannot be tended now", "the store can be tended again")
    while not ended.wait(CATCH_UP_S):
        unwritten = services.unwritten.read()
        if unwritten != caught_up and _takes(services.catch_up, absence):
            caught_up = unwritten
        if time.monotonic() >= tend_at:
            tend_at = time.monotonic() + TEND_S
            _takes(services.tend, absence)


def _takes(work: Callable[[], None], absence: Absence) -> bool:
    """Do *work* on the store, and tell whether that was there; what else goes wrong is logged."""
    try:
        work()
    except StoreUnavailable as error:
        absence.note(error)
        return False
    except Exception:  # the next time it may go well
        log.exception("the store could not be tended")
    absence.end()
    return True


def _hear(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, supervisor: Supervisor, within_s: float) -> None:
    wait_for_stop()
    supervisor.stopping(within_s)
    with suppress(RuntimeError):  # the loop has ended without being told
        loop.call_soon_threadsafe(stop.set)
