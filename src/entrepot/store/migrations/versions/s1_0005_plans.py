"""Add an index of transactions by plan, so that plans that no transaction names any more can be found and dropped."""

from alembic import op

revision = "s1_0005"
down_revision = "s1_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_transactions_plan", "transactions", ["plan"])


def downgrade() -> None:
    op.drop_index("ix_transactions_plan", "transactions")
