"""The tables of issued tokens, credentials, revocations, disabled callers, operators, their sessions, the master key.

What is refused on the data plane stands in the file of ``entrepot.identity.revocation``; the rows of revocations and
disabled callers are for operators, who ask who has a token and who took it away.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from entrepot.store.base import Base


class Token(Base):
    """An access token that was issued; the token itself is not kept."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("jti"),)

    jti: Mapped[str] = mapped_column(String(64), comment="The token's own id (RFC 7519, section 4.1.7).")
    client: Mapped[str] = mapped_column(String(255), index=True, comment="Name of the client in the catalog.")
    partner: Mapped[str] = mapped_column(String(255), index=True, comment="Name of the client's partner at issue.")
    scopes: Mapped[str] = mapped_column(Text, comment="Sorted, separated by spaces.")
    issued_at: Mapped[datetime] = mapped_column(comment="Claim iat.")
    expires_at: Mapped[datetime] = mapped_column(index=True, comment="Claim exp.")
    kid: Mapped[str] = mapped_column(String(64), comment="The key that signed it (RFC 7638 thumbprint).")
    issued_by: Mapped[str] = mapped_column(String(255), comment="Who asked for it.")


class Credential(Base):
    """A secret or an API key of a client; the secret itself is shown once and not kept."""

    __tablename__ = "credentials"
    __table_args__ = (
        UniqueConstraint("key_id"),
        UniqueConstraint("digest"),
        CheckConstraint("kind IN ('secret', 'api-key')", name="kind"),
    )

    key_id: Mapped[str] = mapped_column(String(32), comment="Its public name, by which it is revoked.")
    kind: Mapped[Literal["secret", "api-key"]] = mapped_column(String(8), comment="secret or api-key.")
    client: Mapped[str] = mapped_column(String(255), index=True, comment="Name of the client in the catalog.")
    partner: Mapped[str] = mapped_column(String(255), index=True, comment="Name of the client's partner when made.")
    label: Mapped[str] = mapped_column(String(80), comment="What people call it.")
    digest: Mapped[str] = mapped_column(String(64), comment="HMAC-SHA-256 of the secret, in hex.")
    made_at: Mapped[datetime] = mapped_column(comment="When it was made.")
    expires_at: Mapped[datetime | None] = mapped_column(comment="Refused from then on; null: never.")
    revoked_at: Mapped[datetime | None] = mapped_column(comment="Refused since then; null: not revoked.")
    used_at: Mapped[datetime | None] = mapped_column(comment="Last use, to the minute; null: not used yet.")
    made_by: Mapped[str] = mapped_column(String(255), comment="Who made it.")


class Revocation(Base):
    """A token, or all tokens of a client or partner, or of all, up to a second, that are refused."""

    __tablename__ = "revocations"
    __table_args__ = (
        UniqueConstraint("kind", "value"),
        CheckConstraint("kind IN ('jti', 'client', 'partner', 'all')", name="kind"),
        CheckConstraint("(kind = 'jti') = (cutoff IS NULL)", name="cutoff"),
    )

    kind: Mapped[Literal["jti", "client", "partner", "all"]] = mapped_column(
        String(8), comment="jti, client, partner or all."
    )
    value: Mapped[str] = mapped_column(String(255), comment="A jti, the name of a client or partner, or empty for all.")
    cutoff: Mapped[datetime | None] = mapped_column(comment="Tokens issued in this second or before are refused.")
    revoked_at: Mapped[datetime] = mapped_column(comment="When it was revoked; of a jti, for the first time.")
    expires_at: Mapped[datetime] = mapped_column(index=True, comment="All these tokens have expired by then.")
    revoked_by: Mapped[str] = mapped_column(String(255), comment="Who revoked it.")


class DisabledCaller(Base):
    """A client or partner that is let in by nothing until it is enabled again."""

    __tablename__ = "disabled_callers"
    __table_args__ = (UniqueConstraint("kind", "name"), CheckConstraint("kind IN ('client', 'partner')", name="kind"))

    kind: Mapped[Literal["client", "partner"]] = mapped_column(String(8), comment="client or partner.")
    name: Mapped[str] = mapped_column(String(255), comment="Its name in the catalog.")
    disabled_at: Mapped[datetime] = mapped_column(comment="Since when.")
    disabled_by: Mapped[str] = mapped_column(String(255), comment="Who disabled it.")


master_key = Table(
    "master_key",
    Base.metadata,
    Column("number", Integer, primary_key=True, autoincrement=False, comment="1: a store has one master key."),
    Column("fingerprint", String(64), nullable=False, comment="HMAC-SHA-256 of a constant, in hex; not the key."),
    Column("place", Text, nullable=False, comment="Where the key was when the store began."),
    CheckConstraint("number = 1", name="number"),
    comment="By what the master key of the store is known again.",
)


class Operator(Base):
    """A person who runs the gateway."""

    __tablename__ = "operators"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("role IN ('viewer', 'editor', 'admin')", name="role"),
    )

    name: Mapped[str] = mapped_column(String(80), comment="What the operator signs in with.")
    role: Mapped[Literal["viewer", "editor", "admin"]] = mapped_column(String(8), comment="viewer, editor or admin.")
    password: Mapped[str] = mapped_column(Text, comment="argon2id, in its own encoded form.")
    password_at: Mapped[datetime] = mapped_column(comment="When the password was set; older sessions have ended.")
    disabled_at: Mapped[datetime | None] = mapped_column(comment="Set: may not sign in, and no session is good.")
    seen_at: Mapped[datetime | None] = mapped_column(comment="When the operator last signed in.")


class OperatorSession(Base):
    """A browser in which an operator has signed in."""

    __tablename__ = "operator_sessions"
    __table_args__ = (UniqueConstraint("digest"),)

    operator_id: Mapped[UUID] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(String(64), comment="SHA-256 of the cookie, in hex.")
    started_at: Mapped[datetime] = mapped_column(comment="When the operator signed in.")
    used_at: Mapped[datetime] = mapped_column(comment="Last request, to the minute.")
    ends_at: Mapped[datetime] = mapped_column(index=True, comment="At the latest.")
    source: Mapped[str] = mapped_column(String(64), comment="The address it began from.")
