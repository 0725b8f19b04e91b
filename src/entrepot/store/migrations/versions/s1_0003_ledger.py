"""Add the ledger: what was accepted and must be delivered, its attempts, idempotency keys and holds."""

import sqlalchemy as sa
from alembic import op

revision = "s1_0003"
down_revision = "s1_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ledger_plans",
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the document."),
        sa.Column(
            "document", sa.Text(), nullable=False, comment="What an endpoint did when work was accepted; catalog.plans."
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_ledger_plans"),
        comment="What accepted work is to do, once for all rows that do the same.",
    )
    op.create_table(
        "transactions",
        sa.Column("seq", serial, nullable=False, comment="The order of acceptance."),
        sa.Column(
            "id", sa.String(36), nullable=False, comment="What partners know it by; a UUID of version 7 (RFC 9562)."
        ),
        sa.Column("partner", sa.String(255), nullable=False),
        sa.Column("client", sa.String(255), nullable=False),
        sa.Column("endpoint", sa.String(80), nullable=False),
        sa.Column("upstream", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False, comment="create, update, delete, call or relay."),
        sa.Column("operation_id", sa.String(36), nullable=False, comment="Of the request that brought it."),
        sa.Column("plan", sa.String(64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False, comment="Method and target of the request, as it was sent."),
        sa.Column(
            "facts",
            sa.Text(),
            nullable=False,
            comment="JSON: path values, the partner's values, header lines to pass on.",
        ),
        sa.Column("body", sa.LargeBinary(), comment="As it was sent; dropped some days after the end."),
        sa.Column("size", sa.Integer(), nullable=False, comment="Bytes counted for the partner: body, facts, answer."),
        sa.Column("order_key", sa.String(64), comment="Work with the same is delivered in order; null: in any order."),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("applied", sa.String(7), nullable=False),
        sa.Column("reason", sa.String(16), comment="Why it is held: upstream, conflict or client."),
        sa.Column(
            "due_at",
            sa.Float(),
            comment="When it may be tried; null while it follows another, is held, sent, or finished.",
        ),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, comment="A failure after this is the last."),
        sa.Column("finished_at", sa.Float(), comment="When it was delivered, cancelled, or died."),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="Tries that may have reached the upstream."),
        sa.Column("lease", sa.String(36), comment="Whoever holds it names this to settle it."),
        sa.Column("leased_until", sa.Float()),
        sa.Column("memory", sa.Text(), comment="JSON: what the connector noted before the first try."),
        sa.Column(
            "rests_until",
            sa.Float(),
            comment="The upstream may be at work on it until then, so that it is not tried before; null: it is not.",
        ),
        sa.Column("answer", sa.LargeBinary(), comment="JSON: status, header lines, data; once delivered."),
        sa.Column("problem", sa.Text(), comment="JSON: the problem as partners see it, of the last failure."),
        sa.PrimaryKeyConstraint("seq", name="pk_transactions"),
        sa.ForeignKeyConstraint(["plan"], ["ledger_plans.digest"], name="fk_transactions_plan_ledger_plans"),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'waiting', 'delivered', 'dead', 'held', 'cancelled')",
            name="state",
        ),
        sa.CheckConstraint("applied IN ('no', 'yes', 'unknown')", name="applied"),
    )
    op.create_index("uq_transactions_id", "transactions", ["id"], unique=True)
    op.create_index(
        "ix_transactions_due",
        "transactions",
        ["upstream", "partner", "due_at", "seq"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_transactions_leases",
        "transactions",
        ["leased_until"],
        sqlite_where=sa.text("leased_until IS NOT NULL"),
        postgresql_where=sa.text("leased_until IS NOT NULL"),
    )
    op.create_index(
        "ix_transactions_order",
        "transactions",
        ["order_key", "seq"],
        sqlite_where=sa.text("order_key IS NOT NULL AND state NOT IN ('delivered', 'cancelled')"),
        postgresql_where=sa.text("order_key IS NOT NULL AND state NOT IN ('delivered', 'cancelled')"),
    )
    op.create_index(
        "ix_transactions_bodies",
        "transactions",
        ["partner", "finished_at"],
        sqlite_where=sa.text("state IN ('delivered', 'cancelled') AND size > 0"),
        postgresql_where=sa.text("state IN ('delivered', 'cancelled') AND size > 0"),
    )
    op.create_index("ix_transactions_partner", "transactions", ["partner", "state", "seq"])
    op.create_index(
        "ix_transactions_finished",
        "transactions",
        ["finished_at"],
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", serial, nullable=False),
        sa.Column("transaction_seq", serial, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="From 1."),
        sa.Column("courier", sa.String(80), nullable=False, comment="Who tried: host and process."),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False, comment="delivered, or the class of the fault."),
        sa.Column("status", sa.Integer(), nullable=False, comment="HTTP status that stands for what came of it."),
        sa.Column("code", sa.String(40), nullable=False, comment="Of the error; empty when delivered."),
        sa.Column("detail", sa.Text(), nullable=False, comment="For operators; holds no secret and no body."),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["transaction_seq"],
            ["transactions.seq"],
            name="fk_attempts_transaction_seq_transactions",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_attempts_transaction_seq", "attempts", ["transaction_seq"])
    op.create_table(
        "queues",
        sa.Column("upstream", sa.String(80), nullable=False),
        sa.Column("partner", sa.String(255), nullable=False),
        sa.Column("unfinished", sa.Integer(), nullable=False, comment="Transactions accepted and not finished."),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="Their sizes."),
        sa.Column("dead_bytes", sa.BigInteger(), nullable=False, comment="The sizes of dead transactions."),
        sa.Column(
            "kept_bytes", sa.BigInteger(), nullable=False, comment="Of what is over, and of answers kept for keys."
        ),
        sa.PrimaryKeyConstraint("upstream", "partner", name="pk_queues"),
        comment="Counted with each change: what is asked for at every acceptance must not be a count of rows.",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of client, endpoint and key."),
        sa.Column("request", sa.String(64), nullable=False, comment="SHA-256 of method, path, query and body."),
        sa.Column("transaction_id", sa.String(36), nullable=False),
        sa.Column("queued", sa.Integer(), nullable=False, comment="1: the answer is the transaction's 202."),
        sa.Column("leased_until", sa.Float(), comment="Somebody is at work on it until then."),
        sa.Column("answer", sa.LargeBinary(), comment="JSON: status, header lines, body; once it is known."),
        sa.Column("memory", sa.Text(), comment="JSON: what the connector noted before the first try."),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column(
            "partner", sa.String(255), nullable=False, server_default=sa.text("''"), comment="Empty for what is queued."
        ),
        sa.Column(
            "upstream", sa.String(80), nullable=False, server_default=sa.text("''"), comment="Empty for what is queued."
        ),
        sa.Column(
            "size",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="Bytes of the answer; 0 when there is none, or its body is gone.",
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_idempotency_keys"),
    )
    op.create_index(
        "ix_idempotency_keys_answers",
        "idempotency_keys",
        ["partner", "expires_at"],
        sqlite_where=sa.text("size > 0"),
        postgresql_where=sa.text("size > 0"),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    op.create_table(
        "holds",
        sa.Column("upstream", sa.String(80), nullable=False, comment="'*' for all: maintenance."),
        sa.Column("reason", sa.String(16), nullable=False, comment="maintenance or misconfigured."),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), comment="When it ends by itself; null: never."),
        sa.PrimaryKeyConstraint("upstream", name="pk_holds"),
        comment="Upstreams that nothing is delivered to.",
    )


def downgrade() -> None:
    for table in ("holds", "idempotency_keys", "queues", "attempts", "transactions", "ledger_plans"):
        op.drop_table(table)
