"""When the gateway's account may log in again after Odoo has refused it, so that it locks nobody out.

Odoo counts refused logins and calls on a refused login by source address, and takes nothing more from it for a minute
after the tenth (``res.users``, ``_assert_can_auth``). A password that was changed would be tried by each call of each
worker; here it is tried after 10 s, 40 s, and then once a minute, by one worker for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import Upstream

FIRST_S = 10.0
LONGEST_S = 60.0
MENDED_S = 5.0
LOOK_EVERY_S = 1.0


class Refusals(Protocol):
    """What is known on this host of one account at Odoo. All times are ``time.monotonic``."""

    def until(self) -> float:
        """Return until when no login is tried, 0.0 when none was refused since the last good one."""

    def refuse(self, until: float) -> None:
        """Let no login be tried before *until*; 0.0 lifts it."""

    def dropped(self) -> float:
        """Return when Odoo last refused an account in use; what logged in before that is used no more."""

    def drop(self, at: float) -> None:
        """Note that Odoo refused an account in use *at* that time."""


class OwnRefusals:
    """What this process alone knows."""

    def __init__(self) -> None:
        self._until = self._dropped = 0.0

    def until(self) -> float:
        """Return until when no login is tried, or 0.0."""
        return self._until

    def refuse(self, until: float) -> None:
        """Let no login be tried before *until*."""
        self._until = until

    def dropped(self) -> float:
        """Return when an account in use was refused."""
        return self._dropped

    def drop(self, at: float) -> None:
        """Note that an account in use was refused."""
        self._dropped = at


class SharedRefusals:
    """What all processes of the host know of the account of *upstream*; another account or place begins anew."""

    __slots__ = ("_cells", "_slot")

    def __init__(self, shared: SharedState, upstream: Upstream) -> None:
        account = (upstream.name, upstream.url, upstream.database, upstream.login, upstream.secret)
        self._cells = shared.cells
        self._slot = shared.slot(f"refusals:{account}")

    def until(self) -> float:
        """Return until when no login is tried, or 0.0."""
        return self._cells[self._slot]

    def refuse(self, until: float) -> None:
        """Let no login be tried before *until*."""
        self._cells[self._slot] = until

    def dropped(self) -> float:
        """Return when an account in use was refused."""
        return self._cells[self._slot + 1]

    def drop(self, at: float) -> None:
        """Note that an account in use was refused."""
        self._cells[self._slot + 1] = at


class Attempts:
    """Decides whether to log in. *read* returns the secret as it is now.

    A refused secret waits longer each time, from ``FIRST_S`` to ``LONGEST_S``; another one that has taken its place is
    tried ``MENDED_S`` after the last attempt that this process has seen.
    """

    def __init__(self, refusals: Refusals, read: Callable[[], str]) -> None:
        self._refusals = refusals
        self._read = read
        self._began = 0.0
        self._seen = 0.0
        self._secret = ""
        self._look_at = 0.0

    def may_try(self, now: float) -> bool:
        """Say whether a login may be tried at *now*. After a refusal one that may is the only one on the host.

        It ends in ``accepted``, ``refused`` or ``unanswered``.
        """
        until = self._refusals.until()
        if until == 0.0:
            self._began = 0.0
            return True
        if until != self._seen:
            self._note(until, self._read(), now)
        if now < until and not self._is_mended(now):
            return False
        self.refused(self._read(), now)
        return True

    def accepted(self) -> None:
        """Lift the refusal: Odoo took the login."""
        if self._refusals.until():
            self._refusals.refuse(0.0)

    def refused(self, secret: str, now: float) -> None:
        """Note that Odoo refused *secret*."""
        began = self._began or now
        until = now + min(LONGEST_S, FIRST_S + 2.0 * (now - began))
        self._refusals.refuse(until)
        self._note(until, secret, now)

    def unanswered(self, now: float) -> None:
        """Give back an attempt that came to nothing: another may follow at once."""
        if self._refusals.until():
            self._refusals.refuse(now)

    def _note(self, until: float, secret: str, now: float) -> None:
        self._began = self._began or now
        self._seen, self._secret, self._look_at = until, secret, now + MENDED_S

    def _is_mended(self, now: float) -> bool:
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        return self._read() != self._secret
