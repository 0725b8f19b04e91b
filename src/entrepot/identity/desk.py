"""Where operators get tokens and have them taken away; both are written down in the store.

A token is issued when its row is committed. A revocation is in force when it stands in the file, with the database away
too. Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import ceil
from typing import Literal

from sqlalchemy import Select, func, select

from entrepot.errors import BadRequest, StoreUnavailable
from entrepot.identity.agreement import restore, write_back
from entrepot.identity.claims import Claims
from entrepot.identity.credential import CredentialFile
from entrepot.identity.issuing import Issuing, Row, insert_tokens
from entrepot.identity.keys import Keyring
from entrepot.identity.partners import Client
from entrepot.identity.refused import NEVER, CutoffKind, Kind, Lift, Revocation
from entrepot.identity.refusing import refuse
from entrepot.identity.revocation import Revocations
from entrepot.identity.rows import revocation_of, write_down
from entrepot.identity.tokens import MAX_LIFETIME_S, IssuedToken, read
from entrepot.store import audit
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of a revocation. *new*: it was not in force before. *stored*: the database knows of it."""

    kind: Kind
    value: str
    new: bool
    stored: bool


@dataclass(frozen=True, slots=True)
class Lifted:
    """What came of lifting a revocation: *until* is the last second that was refused, None when none was."""

    kind: CutoffKind
    value: str
    until: int | None


TokenKind = Literal["jti", "client", "partner", "all"]
TokenState = Literal["good", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Held:
    """A token that was issued, and whether it is still good."""

    claims: Claims
    state: TokenState


class Desk:
    """Issues and revokes. *database* is None when it cannot be opened: then tokens can only be revoked.

    *credentials* tells of the API keys, which are revoked with all tokens of a client, a partner or everybody.
    """

    def __init__(
        self,
        keyring: Keyring,
        revocations: Revocations,
        credentials: CredentialFile,
        database: Database | None,
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._keyring = keyring
        self._revocations = revocations
        self._credentials = credentials
        self._database = database
        self._clock = clock
        self._issuing = partial(
            Issuing, keyring, revocations, issuer=issuer, audience=audience, clock=clock, sleep=sleep
        )  # fmt: skip

    def issue(self, client: Client, *, scopes: Collection[str] | None, expires_s: float, actor: Actor) -> IssuedToken:
        """Return a token of *client* for *scopes* (None: all that it has) that is good for *expires_s*.

        Takes up to a second when the client was revoked in this second. Raises BadRequest as ``tokens.issue`` does,
        CallerDisabled, StoreUnavailable when the token cannot be written down.
        """
        issuing = self._issuing(partial(_keep, self._present(), actor))
        return issuing.issue(client, scopes=scopes, expires_s=expires_s, by=actor.name)

    def issued(
        self, *, client: str | None = None, partner: str | None = None, offset: int = 0, limit: int | None = None
    ) -> list[Held]:
        """Return the tokens issued to *client* or *partner*, or to all, the latest first: *limit* from *offset* on.

        Raises StoreUnavailable.
        """
        wanted = select(tables.Token).order_by(tables.Token.issued_at.desc(), tables.Token.jti)
        if client is not None:
            wanted = wanted.where(tables.Token.client == client)
        if partner is not None:
            wanted = wanted.where(tables.Token.partner == partner)
        with self._present().reading() as session:
            return [self._held(row) for row in session.scalars(wanted.offset(offset).limit(limit))]

    def revoked(self, *, offset: int = 0, limit: int | None = None) -> list[Revocation]:
        """Return what is revoked, the latest first: *limit* from *offset* on. Raises StoreUnavailable."""
        table = tables.Revocation
        wanted = select(table).order_by(table.revoked_at.desc(), table.kind, table.value).offset(offset).limit(limit)
        with self._present().reading() as session:
            return [revocation_of(row) for row in session.scalars(wanted)]

    def knows(self, jti: str) -> bool:
        """Tell whether a token of this id was issued here; True when the database is away, and cannot say."""
        return (
            self._database is None
            or self._asked(select(tables.Token.issued_at).where(tables.Token.jti == jti)) is not None
        )

    def _held(self, row: tables.Token) -> Held:
        scopes = frozenset(row.scopes.split())
        expires_at, issued_at = row.expires_at.timestamp(), int(row.issued_at.timestamp())
        claims = Claims(row.client, row.partner, row.jti, scopes, expires_at, issued_at, row.kid)
        state: TokenState = "expired" if expires_at <= self._clock() else "good"
        return Held(claims, "revoked" if self._revocations.is_revoked(claims) else state)

    def revoke_token(self, token: bytes, *, actor: Actor) -> Revoked:
        """Revoke *token*, which may have expired. Raises InvalidToken when it is none of ours."""
        claims = read(self._keyring, token)
        return self._revoke(Revocation("jti", claims.jti, self._clock(), claims.expires_at, by=actor.name), actor)

    def revoke(self, kind: TokenKind, value: str, *, actor: Actor, before: float | None = None) -> Revoked:
        """Revoke the token whose jti is *value*, or all issued so far to the client or partner of this name.

        *kind* ``all`` with an empty *value* stands for everybody. Of all, *before* spares those issued then or later.
        API keys are as tokens. Raises BadRequest for a *before* that lies ahead, StoreUnavailable when it cannot be
        put on disk, and so is not in force.
        """
        now = self._clock()
        if kind == "jti":
            return self._revoke(Revocation(kind, value, now, self._expiry(value, now), by=actor.name), actor)
        cutoff = self._last_made(kind, value, now) if before is None else _last_second(before, now)
        return self._revoke(_up_to(kind, value, cutoff, now, actor.name), actor)

    def lift(self, kind: CutoffKind, value: str, *, actor: Actor) -> Lifted:
        """Take back that all issued up to some time to the client or partner *value*, or to everybody, is refused.

        In force on every worker within a second. What was revoked one by one, and by another such revocation, stays
        refused. Raises BadRequest for what cannot be a name, StoreUnavailable when either the database or the disk does
        not take it: then it stays refused.
        """
        cutoff = NEVER
        try:
            # The file within the turn of the database: whoever revokes meanwhile waits for it, and looks again.
            with self._present().transaction() as session:
                self._revocations.refresh()
                cutoff = self._revocations.own_cutoff(kind, value)
                lift = Lift(kind, value, cutoff, self._clock(), by=actor.name)
                write_down(session, lift, actor)
                session.flush()
                return Lifted(kind, value, cutoff if self._revocations.add(lift) else None)
        except StoreUnavailable:
            if cutoff != NEVER:
                self._revocations.add(_up_to(kind, value, cutoff, self._clock(), actor.name))
            raise

    def agree(self) -> int:
        """Make file and database know the same, and return how many revocations had to be put back into the file.

        For the start of a host whose file was lost, or whose database was away. Raises StoreUnavailable.
        """
        restored = restore(self._present(), self._revocations, self._clock())
        self.catch_up()
        return restored

    def catch_up(self) -> None:
        """Write down what was put into the file while the database was away. Raises StoreUnavailable."""
        write_back(self._present(), self._revocations, self._clock())

    def _revoke(self, revocation: Revocation, actor: Actor) -> Revoked:
        new, stored = refuse(self._revocations, self._database, revocation, actor=actor, clock=self._clock)
        return Revoked(revocation.kind, revocation.value, new, stored)

    def _last_made(self, kind: Kind, value: str, now: float) -> int:
        """Return the second up to which all is revoked: later than *now* when the clock went back since an issue."""
        return max(int(now), self._last_issue(kind, value), self._last_key(kind, value))

    def _last_key(self, kind: Kind, value: str) -> int:
        try:
            self._credentials.load()
        except StoreUnavailable as error:
            log.error("new API keys cannot be read, a revocation knows of former ones", extra={"reason": str(error)})
        keys = (one for one in list(self._credentials.known.values()) if one.kind == "api-key")
        if kind != "all":
            keys = (one for one in keys if (one.client if kind == "client" else one.partner) == value)
        return max((int(one.made_at) for one in keys), default=0)

    def _last_issue(self, kind: Kind, value: str) -> int:
        wanted = select(func.max(tables.Token.issued_at))
        if kind != "all":
            wanted = wanted.where((tables.Token.client if kind == "client" else tables.Token.partner) == value)
        latest = self._asked(wanted)
        return 0 if latest is None else int(latest.timestamp())

    def _expiry(self, jti: str, now: float) -> float:
        expires_at = self._asked(select(tables.Token.expires_at).where(tables.Token.jti == jti))
        return now + MAX_LIFETIME_S if expires_at is None else expires_at.timestamp()

    def _asked(self, question: Select[datetime | None]) -> datetime | None:
        if self._database is None:
            return None
        try:
            with self._database.reading() as session:
                return session.scalar(question)
        except StoreUnavailable:
            return None

    def _present(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the database is away")
        return self._database


def _keep(database: Database, actor: Actor, row: Row) -> None:
    after = {name: row[name] for name in ("client", "partner", "scopes")} | {"ends": row["expires_at"].isoformat()}
    with database.transaction() as session:
        insert_tokens(session.connection(), [row], 0.0)
        audit.append(session, actor, Change("issue", "token", row["jti"], after=after))


def _up_to(kind: CutoffKind, value: str, cutoff: int, now: float, by: str) -> Revocation:
    return Revocation(kind, value, now, cutoff + MAX_LIFETIME_S, cutoff, by)


def _last_second(before: float, now: float) -> int:
    if not 0 < before <= now:
        raise BadRequest("what is issued later cannot be revoked yet")
    return ceil(before) - 1
