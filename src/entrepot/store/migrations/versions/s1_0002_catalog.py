"""Add the catalog's objects and revisions, so that what is in force outlives the files it came from."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "s1_0002"
down_revision = "s1_0001"
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
    op.create_table(
        "catalog_objects",
        *_every_table(),
        sa.Column("kind", sa.String(16), nullable=False, comment="upstreams, endpoints or partners."),
        sa.Column("name", sa.String(80), nullable=False, comment="Unique within its kind."),
        sa.Column("definition", sa.JSON(), nullable=False, comment="As a catalog file writes it, without defaults."),
        sa.Column("origin", sa.String(8), nullable=False, comment="Where it is changed."),
        sa.Column("place", sa.Text(), nullable=False, comment="The file:line it came from; empty when from no file."),
        sa.PrimaryKeyConstraint("id", name="pk_catalog_objects"),
        sa.UniqueConstraint("kind", "name", name="uq_catalog_objects_kind_name"),
        sa.CheckConstraint("origin IN ('file', 'console')", name="origin"),
    )
    op.create_table(
        "catalog_revisions",
        *_every_table(),
        sa.Column("number", sa.Integer(), nullable=False, comment="From 1, one more at each change."),
        sa.Column("document", sa.JSON(), nullable=False, comment="Kind, name, definition of every object."),
        sa.Column("types", sa.JSON(), nullable=False, comment="Upstream, model, and what Odoo says of its fields."),
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of document and types."),
        sa.Column("summary", sa.Text(), nullable=False, comment="What changed, one line an object."),
        sa.Column("made_by", sa.String(255), nullable=False, comment="Who applied it."),
        sa.PrimaryKeyConstraint("id", name="pk_catalog_revisions"),
        sa.UniqueConstraint("number", name="uq_catalog_revisions_number"),
        sa.CheckConstraint("number > 0", name="number"),
    )


def downgrade() -> None:
    op.drop_table("catalog_revisions")
    op.drop_table("catalog_objects")
