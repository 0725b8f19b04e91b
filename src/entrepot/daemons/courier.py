"""The courier in the foreground."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable

import uvloop

from entrepot.chassis.log import flush_log, setup_logging
from entrepot.chassis.operation import current_operation_id
from entrepot.chassis.shared import SharedState
from entrepot.courier.courier import Courier
from entrepot.errors import StoreUnavailable
from entrepot.services import Services
from entrepot.settings import Settings

log = logging.getLogger(__name__)

STORE_AGAIN_S = 1.0


def main(load_settings: Callable[[], Settings]) -> int:
    """Run a courier until it is told to stop; return its exit code."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = load_settings()
    # From here on nobody may be kept waiting because of whoever reads the log.
    setup_logging(settings.log.level, settings.log.target, patient=False)
    current_operation_id.set(None)
    stopped = _Stopped()
    services = _services(settings, stopped)
    if services is None:
        return 0
    with services, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_deliver(settings, services))
    flush_log()
    return 0


class _Stopped:
    """Whether the process was told to stop before it has a loop."""

    def __init__(self) -> None:
        self.is_set = False
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._set)
        # A reload is for the gateway; whoever sends it to both must not end this one.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _set(self, *_: object) -> None:
        self.is_set = True


def _services(settings: Settings, stopped: _Stopped) -> Services | None:
    """Return the services of the store as soon as it is there; None when told to stop before that."""
    while not stopped.is_set:
        services = Services.from_settings(settings)
        try:
            services.database  # noqa: B018 - raises when it is away
            services.prepare()
        except StoreUnavailable as error:
            services.__exit__(None, None, None)
            log.warning("the store is not available, it is tried again", extra={"reason": str(error)})
            time.sleep(STORE_AGAIN_S)
        else:
            return services
    return None


async def _deliver(settings: Settings, services: Services) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    shared = SharedState.open(settings.store.directory / "shared")
    shared.register()
    courier = Courier(settings, shared, services.database, loop)
    gc.collect()
    gc.freeze()
    log.info("courier delivers", extra={"courier": courier.name})
    try:
        await courier.run(stop)
    finally:
        shared.close()
    log.info("courier has ended", extra={"courier": courier.name})
