"""Add tokens and revocations, so that operators see who holds a token and who took it away."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "s1_0001"
down_revision = None
branch_labels = None
depends_on = None


def _every_table() -> list[sa.Column[Any]]:
    moment = sa.DateTime(timezone=True)
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", moment, nullable=False, comment="When the row was made; UTC."),
        sa.Column("updated_at", moment, nullable=False, comment="When the row was last changed; UTC."),
    ]


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "tokens",
        *_every_table(),
        sa.Column("jti", sa.String(64), nullable=False, comment="The token's own id (RFC 7519, section 4.1.7)."),
        sa.Column("client", sa.String(255), nullable=False, comment="Name of the client in the catalog."),
        sa.Column("partner", sa.String(255), nullable=False, comment="Name of the client's partner at issue."),
        sa.Column("scopes", sa.Text(), nullable=False, comment="Sorted, separated by spaces."),
        sa.Column("issued_at", moment, nullable=False, comment="Claim iat."),
        sa.Column("expires_at", moment, nullable=False, comment="Claim exp."),
        sa.Column("kid", sa.String(64), nullable=False, comment="The key that signed it (RFC 7638 thumbprint)."),
        sa.Column("issued_by", sa.String(255), nullable=False, comment="Who asked for it."),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("jti", name="uq_tokens_jti"),
    )
    for column in ("client", "partner", "expires_at"):
        op.create_index(f"ix_tokens_{column}", "tokens", [column])
    op.create_table(
        "revocations",
        *_every_table(),
        sa.Column("kind", sa.String(8), nullable=False, comment="jti, client or partner."),
        sa.Column("value", sa.String(255), nullable=False, comment="A jti, or the name of a client or partner."),
        sa.Column("cutoff", moment, comment="Tokens issued in this second or before are refused."),
        sa.Column("revoked_at", moment, nullable=False, comment="When it was revoked; of a jti, for the first time."),
        sa.Column("expires_at", moment, nullable=False, comment="All these tokens have expired by then."),
        sa.Column("revoked_by", sa.String(255), nullable=False, comment="Who revoked it."),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
        sa.UniqueConstraint("kind", "value", name="uq_revocations_kind_value"),
        sa.CheckConstraint("kind IN ('jti', 'client', 'partner')", name="kind"),
        sa.CheckConstraint("(kind = 'jti') = (cutoff IS NULL)", name="cutoff"),
    )


def downgrade() -> None:
    op.drop_table("revocations")
    op.drop_table("tokens")
