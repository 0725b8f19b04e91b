"""Where operators get tokens and have them taken away; both are written down in the store.

A token is issued when its row is committed. A revocation is in force when it stands in the file, with the database away
too. Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from entrepot.errors import Conflict, StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.keys import Keyring
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Kind, Revocation, Revocations
from entrepot.identity.tokens import MAX_LIFETIME_S, IssuedToken, issue, read
from entrepot.store import identity as tables
from entrepot.store.engine import Database

# A token of the second in which its client was revoked would be refused: its issue waits for the next one.
LONGEST_WAIT_S = 1.5


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came of a revocation. *new*: it was not in force before. *stored*: the database knows of it."""

    kind: Kind
    value: str
    new: bool
    stored: bool


TokenState = Literal["good", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Held:
    """A token that was issued, and whether it is still good."""

    claims: Claims
    state: TokenState


class Desk:
    """Issues and revokes. *database* is None when it cannot be opened: then tokens can only be revoked."""

    def __init__(
        self,
        keyring: Keyring,
        revocations: Revocations,
        database: Database | None,
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._keyring = keyring
        self._revocations = revocations
        self._database = database
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._sleep = sleep

    def issue(self, client: Client, *, scopes: Collection[str] | None, expires_s: float, by: str) -> IssuedToken:
        """Return a token of *client* for *scopes* (None: all that it has) that is good for *expires_s*.

        Takes up to a second when the client was revoked in this second. Raises BadRequest as ``tokens.issue`` does,
        StoreUnavailable when the token cannot be written down.
        """
        database = self._present()
        self._wait_for_cutoff(client)
        token = issue(
            self._keyring,
            client=client,
            scopes=client.scopes if scopes is None else scopes,
            issuer=self._issuer,
            audience=self._audience,
            expires_s=expires_s,
            now=self._clock(),
        )
        with database.transaction() as session:
            session.add(_token_row(token, client, by))
        return token

    def issued(self, *, client: str | None = None, partner: str | None = None) -> list[Held]:
        """Return the tokens issued to *client* or *partner*, or to all, the latest first. Raises StoreUnavailable."""
        wanted = select(tables.Token).order_by(tables.Token.issued_at.desc(), tables.Token.jti)
        if client is not None:
            wanted = wanted.where(tables.Token.client == client)
        if partner is not None:
            wanted = wanted.where(tables.Token.partner == partner)
        with self._present().reading() as session:
            return [self._held(row) for row in session.scalars(wanted)]

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

    def revoke_token(self, token: bytes, *, by: str) -> Revoked:
        """Revoke *token*, which may have expired. Raises InvalidToken when it is none of ours."""
        claims = read(self._keyring, token)
        return self._revoke(Revocation("jti", claims.jti, self._clock(), claims.expires_at, by=by))

    def revoke(self, kind: Kind, value: str, *, by: str) -> Revoked:
        """Revoke the token whose jti is *value*, or all tokens issued so far to the client or partner of this name.

        Raises StoreUnavailable when it cannot be put on disk, and so is not in force.
        """
        now = self._clock()
        if kind == "jti":
            return self._revoke(Revocation(kind, value, now, self._expiry(value, now), by=by))
        cutoff = max(int(now), self._last_issue(kind, value))
        return self._revoke(Revocation(kind, value, now, cutoff + MAX_LIFETIME_S, cutoff=cutoff, by=by))

    def restore(self) -> int:
        """Put revocations that only the store knows back into the file, and return how many those were.

        For the start of a host whose file was lost. Raises StoreUnavailable.
        """
        self._revocations.refresh()
        living = select(tables.Revocation).where(tables.Revocation.expires_at > _moment(self._clock()))
        with self._present().reading() as session:
            known = [_revocation(row) for row in session.scalars(living)]
        return sum(self._revocations.add(it) for it in known if not self._revocations.holds(it))

    def _revoke(self, revocation: Revocation) -> Revoked:
        new = self._revocations.add(revocation)
        stored = self._database is not None
        try:
            if self._database is not None:
                with self._database.transaction() as session:
                    _write_down(session, revocation)
        except StoreUnavailable:
            stored = False
        return Revoked(revocation.kind, revocation.value, new, stored)

    def _wait_for_cutoff(self, client: Client) -> None:
        self._revocations.refresh()
        wait_s = self._revocations.cutoff(client.name, client.partner) + 1 - self._clock()
        if wait_s > LONGEST_WAIT_S:
            raise Conflict(f"{client.name!r} is revoked for {wait_s:.0f} s to come: the clock of the host went back")
        if wait_s > 0:
            self._sleep(wait_s)

    def _last_issue(self, kind: Kind, value: str) -> int:
        """Return the latest ``iat`` of the client or partner: later than now when the clock went back."""
        column = tables.Token.client if kind == "client" else tables.Token.partner
        latest = self._asked(select(func.max(tables.Token.issued_at)).where(column == value))
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


def _token_row(token: IssuedToken, client: Client, by: str) -> tables.Token:
    return tables.Token(
        jti=token.jti,
        client=client.name,
        partner=client.partner,
        scopes=" ".join(sorted(token.scopes)),
        issued_at=_moment(token.issued_at),
        expires_at=_moment(token.expires_at),
        kid=token.kid,
        issued_by=by,
    )


def _write_down(session: Session, revocation: Revocation) -> None:
    same = (tables.Revocation.kind == revocation.kind, tables.Revocation.value == revocation.value)
    row = session.scalar(select(tables.Revocation).where(*same))
    if row is None:
        row = tables.Revocation(kind=revocation.kind, value=revocation.value)
        session.add(row)
    elif revocation.cutoff is None:
        return  # a token is revoked once; the first date stays
    row.cutoff = None if revocation.cutoff is None else _moment(revocation.cutoff)
    row.revoked_at = _moment(revocation.revoked_at)
    row.expires_at = _moment(revocation.expires_at)
    row.revoked_by = revocation.by


def _revocation(row: tables.Revocation) -> Revocation:
    cutoff = None if row.cutoff is None else int(row.cutoff.timestamp())
    return Revocation(
        row.kind, row.value, row.revoked_at.timestamp(), row.expires_at.timestamp(), cutoff, row.revoked_by
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
