"""The sessions of operators: a random text that a browser or a script shows, and whose digest is in the database.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Transaction

from entrepot.errors import SignInFailed, StoreUnavailable
from entrepot.identity.operators import HeldOperator, held
from entrepot.identity.rows import moment
from entrepot.store import audit
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database

# Of one operator at once; one more ends the oldest.
MOST = 20
# The last use is written down no more often than this, nor than twenty times in what ends a session.
USE_STEP_S = 60.0
USE_STEPS = 20
_TEXT = re.compile(r"eos_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Begun:
    """A fresh session. *text* is what is to be shown from now on, and is kept nowhere; it ends at *ends_at* at last."""

    ends_at: float
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """Who shows a good session, and until when it is good at last."""

    operator: HeldOperator
    ends_at: float


class Sessions:
    """The sessions in *database*: each ends *idle_s* after its last use, and *longest_s* after its beginning.

    A use right after one that was written down is not: a session ends up to a twentieth of *idle_s*, a minute at most,
    earlier then. For several threads.
    """

    def __init__(
        self, database: Database, *, idle_s: float, longest_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._idle_s = idle_s
        self._use_step_s = min(USE_STEP_S, idle_s / USE_STEPS)
        self._longest_s = longest_s
        self._clock = clock

    def begin(self, operator: HeldOperator, *, actor: Actor, former: str = "") -> Begun:
        """Begin a session of *operator*, who has just proved who it is, and end the one shown as *former*.

        Raises SignInFailed when the account has changed meanwhile, StoreUnavailable.
        """
        now = self._clock()
        text = f"eos_{secrets.token_urlsafe(32)}"
        with self._database.transaction() as session:
            row = session.scalar(select(tables.Operator).where(tables.Operator.name == operator.name))
            if row is None or held(row).password_at != operator.password_at or row.disabled_at is not None:
                raise SignInFailed
            _tidy(session, row.id, _digest(former), moment(now), moment(now - self._idle_s))
            session.add(
                tables.OperatorSession(
                    operator_id=row.id, digest=_digest(text), started_at=moment(now), used_at=moment(now),
                    ends_at=moment(now + self._longest_s), source=actor.source[:64],
                )
            )  # fmt: skip
            row.seen_at = moment(now)
            audit.append(session, actor, Change("sign in", "session", operator.name))
        return Begun(now + self._longest_s, text)

    def find(self, text: str) -> Signed | None:
        """Return whose good session *text* is; None when it is none, or has ended. Raises StoreUnavailable."""
        if not _TEXT.fullmatch(text):
            return None
        now = self._clock()
        wanted = select(tables.OperatorSession, tables.Operator).join(tables.Operator)
        with self._database.reading() as session:
            found = session.execute(wanted.where(tables.OperatorSession.digest == _digest(text))).first()
        if found is None:
            return None
        kept, operator = found
        used_at, ends_at = kept.used_at.timestamp(), kept.ends_at.timestamp()
        if operator.disabled_at is not None or now >= min(used_at + self._idle_s, ends_at):
            return None
        if now - used_at >= self._use_step_s:
            self._note_use(kept.id, now)
        return Signed(held(operator), ends_at)

    def end(self, text: str, *, actor: Actor) -> bool:
        """End the session *text*, and return whether there was one. Raises StoreUnavailable."""
        with self._database.transaction() as session:
            ended = session.scalars(
                delete(tables.OperatorSession)
                .where(tables.OperatorSession.digest == _digest(text))
                .returning(tables.OperatorSession.id)
            ).all()
            if ended:
                audit.append(session, actor, Change("sign out", "session", actor.name))
        return bool(ended)

    def _note_use(self, id_: UUID, now: float) -> None:
        try:
            with self._database.transaction() as session:
                row = session.get(tables.OperatorSession, id_)
                if row is not None:
                    row.used_at = moment(now)
        except StoreUnavailable:
            # Nothing can be changed now; what can be read is shown all the same.
            return


def csrf_token(text: str) -> str:
    """Return what must come with each change that the session *text*, being a cookie, is to allow.

    Other sites can make a browser send the cookie, and can neither read it nor compute this.
    """
    return urlsafe_b64encode(hmac.digest(text.encode(), b"entrepot csrf", "sha256")).decode().rstrip("=")


def _tidy(session: Transaction, operator_id: UUID, former: str, now: datetime, idle: datetime) -> None:
    """End what has ended, the session *former*, and the oldest of the operator when one more would be too many."""
    table = tables.OperatorSession
    session.execute(delete(table).where((table.ends_at <= now) | (table.used_at <= idle) | (table.digest == former)))
    kept = select(table.id).where(table.operator_id == operator_id).order_by(table.started_at.desc(), table.id)
    surplus = session.scalars(kept.offset(MOST - 1)).all()
    session.execute(delete(table).where(table.id.in_(surplus)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
