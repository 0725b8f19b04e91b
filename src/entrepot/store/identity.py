"""The tables of issued tokens and of revocations.

What holds on the data plane is the file of ``entrepot.identity.revocation``; these rows are for operators, who ask
who has a token and who took it away.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, String, Text, UniqueConstraint
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


class Revocation(Base):
    """A token, or all tokens of a client or partner up to a second, that are refused."""

    __tablename__ = "revocations"
    __table_args__ = (
        UniqueConstraint("kind", "value"),
        CheckConstraint("kind IN ('jti', 'client', 'partner')", name="kind"),
        CheckConstraint("(kind = 'jti') = (cutoff IS NULL)", name="cutoff"),
    )

    kind: Mapped[Literal["jti", "client", "partner"]] = mapped_column(String(8), comment="jti, client or partner.")
    value: Mapped[str] = mapped_column(String(255), comment="A jti, or the name of a client or partner.")
    cutoff: Mapped[datetime | None] = mapped_column(comment="Tokens issued in this second or before are refused.")
    revoked_at: Mapped[datetime] = mapped_column(comment="When it was revoked; of a jti, for the first time.")
    expires_at: Mapped[datetime] = mapped_column(comment="All these tokens have expired by then.")
    revoked_by: Mapped[str] = mapped_column(String(255), comment="Who revoked it.")
