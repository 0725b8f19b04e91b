"""The people who run the gateway: their accounts, and what each may do.

Every change is written to the audit log with it. Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from entrepot.chassis.shared import SharedState
from entrepot.errors import BadRequest, Conflict, NotFound, SignInFailed
from entrepot.identity.attempts import Attempts
from entrepot.identity.passwords import Passwords
from entrepot.identity.roles import Role
from entrepot.store import audit
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database

log = logging.getLogger(__name__)

NAME = r"[a-z0-9][a-z0-9._@-]{0,79}"
_NAME = re.compile(NAME, re.ASCII)

# Whoever tries one name from one network, and whoever tries many.
MOST_OF_NAME = 10
MOST_OF_NETWORK = 100
WINDOW_S = 60.0
_ANY_NAME = ""


@dataclass(frozen=True, slots=True)
class HeldOperator:
    """An account. *disabled_at* is None for one that may sign in, *seen_at* for one that never did."""

    name: str
    role: Role
    made_at: float
    password_at: float
    disabled_at: float | None
    seen_at: float | None


class Operators:
    """The accounts in *database*. For several threads.

    Whoever loses a role or a password, or is disabled, is signed out everywhere. At the console, nobody takes away
    their own role or disables themselves, so that one admin remains, and nobody changes their own password without
    knowing the present one; the command line may.
    """

    def __init__(
        self, database: Database, passwords: Passwords, attempts: SignIns, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._attempts = attempts
        self._clock = clock

    def listed(self) -> list[HeldOperator]:
        """Return all accounts by name. Raises StoreUnavailable."""
        with self._database.reading() as session:
            return [held(row) for row in session.scalars(select(tables.Operator).order_by(tables.Operator.name))]

    def one(self, name: str) -> HeldOperator:
        """Return the account *name*. Raises NotFound and StoreUnavailable."""
        with self._database.reading() as session:
            return held(_present(session, name))

    def add(self, name: str, role: Role, password: str, *, actor: Actor) -> HeldOperator:
        """Make an account and return it.

        Raises BadRequest for a name or password that cannot be, Conflict when there is one of this name,
        StoreUnavailable.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(f"the name of an operator has 1 to 80 of a-z 0-9 . _ @ -, not {name!r}")
        digest = self._passwords.digest(password)
        with self._database.transaction() as session:
            if _found(session, name) is not None:
                raise Conflict(f"there is an operator {name!r} already")
            row = tables.Operator(name=name, role=role, password=digest, password_at=self._now())
            session.add(row)
            session.flush()
            audit.append(session, actor, Change("add", "operator", name, after=_shown(row)))
            return held(row)

    def change_role(self, name: str, role: Role, *, actor: Actor) -> HeldOperator:
        """Give the account another role. Raises NotFound, Conflict and StoreUnavailable."""
        _check_not_oneself(name, actor)

        def change(row: tables.Operator) -> None:
            row.role = role

        return self._change(name, "role", actor, change)

    def set_password(self, name: str, password: str, *, actor: Actor) -> HeldOperator:
        """Give the account another password. Raises NotFound, Conflict, BadRequest and StoreUnavailable."""
        _check_not_oneself(name, actor)
        return self._set_password(name, password, actor)

    def _set_password(self, name: str, password: str, actor: Actor) -> HeldOperator:
        digest = self._passwords.digest(password)

        def change(row: tables.Operator) -> None:
            row.password, row.password_at = digest, self._now()

        return self._change(name, "password", actor, change)

    def change_password(self, name: str, present: str, password: str, *, actor: Actor) -> HeldOperator:
        """Give the account another password, for its owner, who knows the *present* one.

        Raises SignInFailed when it is another, and TooManyRequests, BadRequest, NotFound and StoreUnavailable.
        """
        self.check(name, present, actor.source)
        return self._set_password(name, password, actor)

    def disable(self, name: str, *, actor: Actor) -> HeldOperator:
        """Let the account in no more; the first date stays. Raises NotFound, Conflict and StoreUnavailable."""
        _check_not_oneself(name, actor)

        def change(row: tables.Operator) -> None:
            row.disabled_at = row.disabled_at or self._now()

        return self._change(name, "disable", actor, change)

    def enable(self, name: str, *, actor: Actor) -> HeldOperator:
        """Let the account in again. Raises NotFound and StoreUnavailable."""

        def change(row: tables.Operator) -> None:
            row.disabled_at = None

        return self._change(name, "enable", actor, change)

    def check(self, name: str, password: str, source: str) -> HeldOperator:
        """Return the account *name* when *password* is its own, for somebody at the address *source*.

        What is wrong takes as long for a name that does not exist. Raises SignInFailed when it is wrong or the account
        disabled, TooManyRequests after many tries of this name from this network, or from this network at all: others
        are not kept out by these. Raises BadRequest for what cannot be a password, StoreUnavailable.
        """
        self._attempts.begin(name, source)
        with self._database.reading() as session:
            row = _found(session, name)
        is_right = self._passwords.is_right(None if row is None else row.password, password)
        if row is None or not is_right or row.disabled_at is not None:
            log.warning("an operator could not sign in", extra={"source": source})
            raise SignInFailed
        self._attempts.succeeded(name, source)
        if self._passwords.is_outdated(row.password):
            self._renew(row, password)
        return held(row)

    def _change(self, name: str, action: str, actor: Actor, change: Callable[[tables.Operator], None]) -> HeldOperator:
        """Let *change* work on the row of *name*; what is as it was before is no change."""
        with self._database.transaction() as session:
            row = _present(session, name)
            before = _shown(row)
            change(row)
            if session.is_modified(row):
                session.execute(delete(tables.OperatorSession).where(tables.OperatorSession.operator_id == row.id))
                audit.append(session, actor, Change(action, "operator", name, before, _shown(row)))
            return held(row)

    def _renew(self, known: tables.Operator, password: str) -> None:
        """Keep the same password with the costs of today."""
        digest = self._passwords.digest(password)
        with self._database.transaction() as session:
            row = _found(session, known.name)
            if row is not None and row.password == known.password:
                row.password = digest

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


class SignIns:
    """Counts tries to sign in, by name and network, before the password is looked at, which is dear.

    They are counted in *shared*, over all processes of the host. For several threads.
    """

    def __init__(self, shared: SharedState, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_name = Attempts(shared, "sign-ins of a name", most=MOST_OF_NAME, window_s=WINDOW_S)
        self._of_network = Attempts(shared, "sign-ins of a network", most=MOST_OF_NETWORK, window_s=WINDOW_S)
        self._clock = clock

    def begin(self, name: str, source: str) -> None:
        """Count a try of *name* from the address *source*. Raises TooManyRequests when there were too many."""
        now = self._clock()
        self._of_network.failed(_ANY_NAME, source, now)
        self._of_name.failed(name, source, now)

    def succeeded(self, name: str, source: str) -> None:
        """Forget the tries of *name* from there: the last one was good. Those of the network count on."""
        self._of_name.forget(name, source)


def held(row: tables.Operator) -> HeldOperator:
    """Return what may be told of the account in *row*."""
    return HeldOperator(
        row.name, row.role, row.created_at.timestamp(), row.password_at.timestamp(), _seconds(row.disabled_at),
        _seconds(row.seen_at),
    )  # fmt: skip


def _check_not_oneself(name: str, actor: Actor) -> None:
    if actor.face == "console" and actor.name == name:
        raise Conflict("nobody does this to their own account: another admin does, or the command line")


def _found(session: Session, name: str) -> tables.Operator | None:
    if not _NAME.fullmatch(name):
        return None  # a database need not be asked for what it may not even be able to write
    return session.scalar(select(tables.Operator).where(tables.Operator.name == name))


def _present(session: Session, name: str) -> tables.Operator:
    row = _found(session, name)
    if row is None:
        raise NotFound(f"there is no operator {name!r}")
    return row


def _shown(row: tables.Operator) -> dict[str, Any]:
    times = {name: getattr(row, name) for name in ("password_at", "disabled_at")}
    return {"role": row.role, **{name: at and at.isoformat() for name, at in times.items()}}


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
