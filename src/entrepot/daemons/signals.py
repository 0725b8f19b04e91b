"""Signals that tell a daemon to stop or to reload: held back from its first moment, until somebody asks for them.

By itself Python ends by them, and so it does again once a loop that took them is closed. What is held back is neither
lost nor fatal: the kernel keeps it.
"""

from __future__ import annotations

import signal

STOPS = (signal.SIGTERM, signal.SIGINT)
_HELD = (*STOPS, signal.SIGHUP)


def hold_back() -> None:
    """Hold them back from now on, also in threads and processes that begin after this."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def let_through() -> None:
    """Let them through, and what was held back first."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def wait_for_stop() -> None:
    """Return when a stop is held back, and take it."""
    signal.sigwait(STOPS)


def is_stopped(within_s: float) -> bool:
    """Tell whether a stop is held back, or will be *within_s* seconds; it is waited for, and taken."""
    return signal.sigtimedwait(STOPS, within_s) is not None
