"""Where clients get secrets and API keys, and have them taken away; all of it is written down in the store.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from entrepot.chassis.operation import current_operation_id
from entrepot.errors import BadRequest, Conflict, NotFound, SettingsError, StoreUnavailable
from entrepot.identity.credential import FOREVER, Credential, CredentialFile, Kind, new_text
from entrepot.identity.issuing import LONGEST_WAIT_S
from entrepot.identity.partners import Client
from entrepot.identity.revocation import CallerKind, Revocation, Revocations
from entrepot.identity.rows import moment
from entrepot.identity.tokens import MAX_LIFETIME_S
from entrepot.identity.uses import Uses
from entrepot.store import audit
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Change
from entrepot.store.engine import Database

log = logging.getLogger(__name__)

MAX_LABEL_CHARS = 80
# Of each kind; a rotation needs two.
MAX_LIVING = 50
# Last uses are written to the database to the minute.
USE_STEP_S = 60.0

CredentialState = Literal["good", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class MadeCredential:
    """A fresh credential; *text* is shown once and kept nowhere."""

    key_id: str
    client: str
    expires_at: float
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeldCredential:
    """A credential of a client, and whether it is still good. *used_at* is None when it was not used."""

    key_id: str
    kind: Kind
    client: str
    partner: str
    label: str
    state: CredentialState
    made_at: float
    made_by: str
    expires_at: float | None
    used_at: float | None


@dataclass(frozen=True, slots=True)
class RevokedCredential:
    """What came of a revocation. *new*: it was not in force before. *stored*: the database knows of it."""

    key_id: str
    new: bool
    stored: bool


class Credentials:
    """Makes, lists and revokes what is in *file*. *database* is None when it cannot be opened.

    Without the database secrets are checked and credentials revoked all the same, and no more. For several threads.
    """

    def __init__(
        self,
        file: CredentialFile,
        uses: Uses,
        revocations: Revocations,
        database: Database | None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._file = file
        self._uses = uses
        self._revocations = revocations
        self._database = database
        self._clock = clock
        self._sleep = sleep

    def make(
        self, kind: Kind, client: Client, *, actor: Actor, label: str = "", expires_s: float | None = None
    ) -> MadeCredential:
        """Return a new credential of *client* that is good for *expires_s*, None being for ever, and called *label*.

        It is good on every worker within a second. Takes up to a second when the client was revoked in this second.
        Raises BadRequest for another label or time than possible, Conflict
        when the client may not have one, or one more, SettingsError without the master key, StoreUnavailable.
        """
        label = _label(label)
        if kind == "api-key" and not client.api_keys:
            raise Conflict(f"the catalog does not let the client {client.name!r} use API keys (api_keys: true)")
        made_at = self._made_at(client)
        expires_at = FOREVER if expires_s is None else made_at + _lifetime(expires_s)
        key_id, text = new_text(kind)
        digest = self._file.digest(kind, text)
        row = tables.Credential(
            key_id=key_id, kind=kind, client=client.name, partner=client.partner, label=label, digest=digest.hex(),
            made_at=moment(made_at), expires_at=_end(expires_at), made_by=actor.name,
        )  # fmt: skip
        with self._present().transaction() as session:
            if (session.scalar(_living(kind, client.name, made_at)) or 0) >= MAX_LIVING:
                raise Conflict(f"the client {client.name!r} has {MAX_LIVING} of this kind already: revoke some")
            session.add(row)
            session.flush()
            audit.append(session, actor, Change("make", kind, key_id, after=_shown(row)))
            # Last: what is in the file and not in the database after a failure is a credential that nobody was shown.
            self._put(Credential(key_id, kind, client.name, client.partner, digest, made_at, expires_at))
        return MadeCredential(key_id, client.name, expires_at, text)

    def listed(
        self,
        *,
        kind: Kind | None = None,
        client: str | None = None,
        partner: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[HeldCredential]:
        """Return the credentials of this *kind*, *client* and *partner*, the latest first: *limit* from *offset* on.

        Raises StoreUnavailable.
        """
        wanted = select(tables.Credential).order_by(tables.Credential.made_at.desc(), tables.Credential.key_id)
        named = (
            (tables.Credential.kind, kind),
            (tables.Credential.client, client),
            (tables.Credential.partner, partner),
        )
        for column, value in named:
            if value is not None:
                wanted = wanted.where(column == value)
        self._file.load()
        with self._present().reading() as session:
            return [self._held(row) for row in session.scalars(wanted.offset(offset).limit(limit))]

    def revoke(self, key_id: str, *, actor: Actor) -> RevokedCredential:
        """Refuse the credential *key_id* from now on, on every worker within a second; the first date stays.

        Raises NotFound when there is none, StoreUnavailable when it cannot be put on disk, and so is not in force.
        """
        self._file.load()
        if key_id not in self._file.known and not self._is_stored(key_id):
            raise NotFound(f"there is no secret or API key {key_id!r}")
        now = self._clock()
        new = self._revocations.add(_revocation(key_id, now, by=actor.name))
        stored = self._database is not None
        try:
            if self._database is not None:
                with self._database.transaction() as session:
                    _write_down(session, key_id, now, actor)
        except StoreUnavailable:
            stored = False
        return RevokedCredential(key_id, new, stored)

    def revoke_all(self, kind: CallerKind, name: str, *, actor: Actor) -> int:
        """Refuse all secrets and API keys of the client or partner *name* from now on; return how many were good.

        Raises StoreUnavailable: then all are refused or, when the disk does not take it, none.
        """
        self._file.load()
        now, database = self._clock(), self._present()
        owner = tables.Credential.client if kind == "client" else tables.Credential.partner
        with database.reading() as session:
            rows = session.scalars(
                select(tables.Credential).where(owner == name, tables.Credential.revoked_at.is_(None))
            )
            held = [self._held(row) for row in rows]
        key_ids = {one.key_id: one.state == "good" for one in held}
        self._revocations.add_all([_revocation(key_id, now, by=actor.name) for key_id in key_ids])
        with database.transaction() as session:
            for key_id in key_ids:
                _write_down(session, key_id, now, actor)
        return sum(key_ids.values())

    def check_secret(self, client: str, secret: str) -> Credential | None:
        """Return the credential that *secret* is when it is a good one of *client*, and None when not.

        Takes some microseconds, and no database. Raises StoreUnavailable when the master key or revocations cannot be
        read.
        """
        now = self._clock()
        found = self._found(secret)
        if found is None or found.client != client or now >= found.expires_at:
            return None
        if self._revocations.has_changed():
            self._revocations.refresh()
        if self._is_revoked(found.key_id):
            return None
        self._uses.note(found.number, now)
        return found

    def prepare(self) -> None:
        """Make file and database agree, for the start of a host, one of which may have been lost or restored.

        Raises StoreUnavailable.
        """
        self._file.load()
        self._revocations.refresh()
        now, database = self._clock(), self._present()
        self._write_revoked(database, now)
        with database.reading() as session:
            rows = {row.key_id: row for row in session.scalars(select(tables.Credential))}
        self._restore_file(rows.values(), now)
        self._restore_rows(database, rows, now)
        self.keep_uses()
        self._file.compact(now, {key_id for key_id in self._file.known if self._is_revoked(key_id)})

    def keep_uses(self) -> None:
        """Write to the database, to the minute, when credentials were last used. Raises StoreUnavailable."""
        database, used = self._present(), []
        with database.reading() as session:
            wanted = select(tables.Credential.id, tables.Credential.key_id, tables.Credential.used_at)
            for row in session.execute(wanted):
                at = self._used_at(row.key_id, row.used_at)
                if at is not None and (row.used_at is None or at - row.used_at.timestamp() >= USE_STEP_S):
                    used.append({"id": row.id, "used_at": moment(at // USE_STEP_S * USE_STEP_S)})
        if used:
            with database.transaction() as session:
                session.execute(update(tables.Credential), used)

    def close(self) -> None:
        """Close the file; what was read stays known."""
        self._file.close()

    def _put(self, *new: Credential) -> None:
        for made in self._file.add(new):
            self._uses.make_room(made.number)

    def _write_revoked(self, database: Database, now: float) -> None:
        """Write down what was revoked while the database was away, by whom and when."""
        good = select(tables.Credential.key_id).where(tables.Credential.revoked_at.is_(None))
        with database.reading() as session:
            missing = [key_id for key_id in session.scalars(good) if self._is_revoked(key_id)]
        if not missing:
            return
        revoked = {one.value: one for one in self._revocations.entries() if one.kind == "key"}
        operation_id = current_operation_id.get() or ""
        with database.transaction() as session:
            for key_id in missing:
                # Its line may be over, and taken out; this process has read it before.
                revocation = revoked.get(key_id) or _revocation(key_id, now, by="")
                _write_down(session, key_id, revocation.revoked_at, Actor(revocation.by, "system", operation_id))

    def _restore_file(self, rows: Collection[tables.Credential], now: float) -> None:
        lost = [row for row in rows if row.revoked_at is None and row.key_id not in self._file.known]
        self._put(*(known for known in map(_known, lost) if known.expires_at > now))
        self._revocations.add_all(
            [
                _revocation(row.key_id, row.revoked_at.timestamp(), by="")
                for row in rows
                if row.revoked_at is not None and not self._is_revoked(row.key_id)
            ]
        )

    def _restore_rows(self, database: Database, rows: Mapping[str, tables.Credential], now: float) -> None:
        missing = [
            known
            for known in self._file.known.values()
            if known.key_id not in rows and known.expires_at > now and not self._is_revoked(known.key_id)
        ]
        if not missing:
            return
        with database.transaction() as session:
            for known in missing:
                # Another process may have done this meanwhile, or have been about to make the credential.
                if session.scalar(_stored(known.key_id)) is None:
                    session.add(_lost_row(known))

    def _found(self, secret: str) -> Credential | None:
        try:
            return self._file.find("secret", secret)
        except SettingsError as error:
            # What is wrong with the host is not for those who show secrets.
            log.error("secrets cannot be checked", extra={"reason": str(error)})
            raise StoreUnavailable("secrets cannot be checked now") from error

    def _made_at(self, client: Client) -> float:
        # What was made in the second of a revocation would be refused: an API key waits for the next one.
        self._revocations.refresh()
        next_second = self._revocations.cutoff(client.name, client.partner) + 1.0
        wait_s = next_second - self._clock()
        if wait_s > LONGEST_WAIT_S:
            raise Conflict(f"{client.name!r} is revoked for {wait_s:.0f} s to come: the clock of the host went back")
        if wait_s > 0:
            self._sleep(wait_s)
        # A clock that is being slowed down may be short of it by a little.
        return max(self._clock(), next_second)

    def _is_stored(self, key_id: str) -> bool:
        if self._database is None:
            return False
        try:
            with self._database.reading() as session:
                return session.scalar(_stored(key_id)) is not None
        except StoreUnavailable:
            return False

    def _is_revoked(self, key_id: str) -> bool:
        return self._revocations.holds(_revocation(key_id, 0.0, by=""))

    def _held(self, row: tables.Credential) -> HeldCredential:
        expires_at = None if row.expires_at is None else row.expires_at.timestamp()
        state: CredentialState = "good"
        if row.revoked_at is not None or self._is_revoked(row.key_id):
            state = "revoked"
        elif expires_at is not None and expires_at <= self._clock():
            state = "expired"
        return HeldCredential(
            row.key_id, row.kind, row.client, row.partner, row.label, state, row.made_at.timestamp(), row.made_by,
            expires_at, self._used_at(row.key_id, row.used_at),
        )  # fmt: skip

    def _used_at(self, key_id: str, stored: datetime | None) -> float | None:
        known = self._file.known.get(key_id)
        noted = None if known is None else self._uses.at(known.number)
        kept = None if stored is None else stored.timestamp()
        return max((at for at in (noted, kept) if at is not None), default=None)

    def _present(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the database is away")
        return self._database


def _label(text: str) -> str:
    label = text.strip()
    if len(label) > MAX_LABEL_CHARS or not label.isprintable():
        raise BadRequest(f"a label has at most {MAX_LABEL_CHARS} characters that can be printed")
    return label


def _lifetime(expires_s: float) -> float:
    if not 1 <= expires_s <= MAX_LIFETIME_S:
        raise BadRequest(f"a credential lives for 1 to {MAX_LIFETIME_S} seconds, or for ever, not {expires_s:g}")
    return expires_s


def _write_down(session: Session, key_id: str, now: float, actor: Actor) -> None:
    row = session.scalar(select(tables.Credential).where(tables.Credential.key_id == key_id))
    if row is None or row.revoked_at is not None:
        return  # the first date stays
    before = _shown(row)
    row.revoked_at = moment(now)
    change = Change("revoke", row.kind, key_id, before=before, after=_shown(row))
    audit.append(session, actor, change, at=row.revoked_at)


def _stored(key_id: str) -> Select[str]:
    return select(tables.Credential.key_id).where(tables.Credential.key_id == key_id)


def _known(row: tables.Credential) -> Credential:
    expires_at = FOREVER if row.expires_at is None else row.expires_at.timestamp()
    digest = bytes.fromhex(row.digest)
    return Credential(row.key_id, row.kind, row.client, row.partner, digest, row.made_at.timestamp(), expires_at)


def _lost_row(known: Credential) -> tables.Credential:
    return tables.Credential(
        key_id=known.key_id, kind=known.kind, client=known.client, partner=known.partner, label="(of a lost row)",
        digest=known.digest.hex(), made_at=moment(known.made_at), expires_at=_end(known.expires_at), made_by="",
    )  # fmt: skip


def _living(kind: Kind, client: str, now: float) -> Select[int]:
    ends = tables.Credential.expires_at
    return select(func.count()).where(
        tables.Credential.kind == kind,
        tables.Credential.client == client,
        tables.Credential.revoked_at.is_(None),
        ends.is_(None) | (ends > moment(now)),
    )


def _revocation(key_id: str, now: float, *, by: str) -> Revocation:
    return Revocation("key", key_id, now, now + MAX_LIFETIME_S, by=by)


def _shown(row: tables.Credential) -> dict[str, Any]:
    return {
        "client": row.client,
        "partner": row.partner,
        "label": row.label,
        "expires_at": None if row.expires_at is None else row.expires_at.isoformat(),
        "revoked_at": None if row.revoked_at is None else row.revoked_at.isoformat(),
    }


def _end(expires_at: float) -> datetime | None:
    return None if expires_at == FOREVER else moment(expires_at)
