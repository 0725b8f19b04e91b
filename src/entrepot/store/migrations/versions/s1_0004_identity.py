"""Add credentials, disabled callers, operators, their sessions, the master key's mark and the audit log."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "s1_0004"
down_revision = "s1_0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
RULES = {"kind": "kind IN ('jti', 'client', 'partner', 'all')"}
FORMER_RULES = {"kind": "kind IN ('jti', 'client', 'partner')"}
COMMENTS = {
    "kind": "jti, client, partner or all.",
    "value": "A jti, the name of a client or partner, or empty for all.",
}
FORMER_COMMENTS = {"kind": "jti, client or partner.", "value": "A jti, or the name of a client or partner."}


def _every_table() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False, comment="When the row was made; UTC."),
        sa.Column("updated_at", MOMENT, nullable=False, comment="When the row was last changed; UTC."),
    ]


def upgrade() -> None:
    _add_credentials()
    _add_disabled_callers()
    _add_operators()
    _add_master_key()
    _add_audit()
    _change_revocations(RULES, COMMENTS)
    _change_holds(sa.String(80), sa.String(262), "'*' for all: maintenance; client:NAME for a client.")
    op.create_index("ix_revocations_expires_at", "revocations", ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_revocations_expires_at", "revocations")
    op.execute("DELETE FROM revocations WHERE kind = 'all'")
    _change_revocations(FORMER_RULES, FORMER_COMMENTS)
    op.execute("DELETE FROM holds WHERE length(upstream) > 80")
    _change_holds(sa.String(262), sa.String(80), "'*' for all: maintenance.")
    _open_audit()
    tables = ("master_key", "audit_entries", "operator_sessions", "operators", "disabled_callers", "credentials")
    for table in tables:
        op.drop_table(table)


def _add_credentials() -> None:
    op.create_table(
        "credentials",
        *_every_table(),
        sa.Column("key_id", sa.String(32), nullable=False, comment="Its public name, by which it is revoked."),
        sa.Column("kind", sa.String(8), nullable=False, comment="secret or api-key."),
        sa.Column("client", sa.String(255), nullable=False, comment="Name of the client in the catalog."),
        sa.Column("partner", sa.String(255), nullable=False, comment="Name of the client's partner when made."),
        sa.Column("label", sa.String(80), nullable=False, comment="What people call it."),
        sa.Column("digest", sa.String(64), nullable=False, comment="HMAC-SHA-256 of the secret, in hex."),
        sa.Column("made_at", MOMENT, nullable=False, comment="When it was made."),
        sa.Column("expires_at", MOMENT, comment="Refused from then on; null: never."),
        sa.Column("revoked_at", MOMENT, comment="Refused since then; null: not revoked."),
        sa.Column("used_at", MOMENT, comment="Last use, to the minute; null: not used yet."),
        sa.Column("made_by", sa.String(255), nullable=False, comment="Who made it."),
        sa.PrimaryKeyConstraint("id", name="pk_credentials"),
        sa.UniqueConstraint("key_id", name="uq_credentials_key_id"),
        sa.UniqueConstraint("digest", name="uq_credentials_digest"),
        sa.CheckConstraint("kind IN ('secret', 'api-key')", name="kind"),
    )
    for column in ("client", "partner"):
        op.create_index(f"ix_credentials_{column}", "credentials", [column])


def _add_disabled_callers() -> None:
    op.create_table(
        "disabled_callers",
        *_every_table(),
        sa.Column("kind", sa.String(8), nullable=False, comment="client or partner."),
        sa.Column("name", sa.String(255), nullable=False, comment="Its name in the catalog."),
        sa.Column("disabled_at", MOMENT, nullable=False, comment="Since when."),
        sa.Column("disabled_by", sa.String(255), nullable=False, comment="Who disabled it."),
        sa.PrimaryKeyConstraint("id", name="pk_disabled_callers"),
        sa.UniqueConstraint("kind", "name", name="uq_disabled_callers_kind_name"),
        sa.CheckConstraint("kind IN ('client', 'partner')", name="kind"),
    )


def _add_operators() -> None:
    op.create_table(
        "operators",
        *_every_table(),
        sa.Column("name", sa.String(80), nullable=False, comment="What the operator signs in with."),
        sa.Column("role", sa.String(8), nullable=False, comment="viewer, editor or admin."),
        sa.Column("password", sa.Text(), nullable=False, comment="argon2id, in its own encoded form."),
        sa.Column(
            "password_at", MOMENT, nullable=False, comment="When the password was set; older sessions have ended."
        ),
        sa.Column("disabled_at", MOMENT, comment="Set: may not sign in, and no session is good."),
        sa.Column("seen_at", MOMENT, comment="When the operator last signed in."),
        sa.PrimaryKeyConstraint("id", name="pk_operators"),
        sa.UniqueConstraint("name", name="uq_operators_name"),
        sa.CheckConstraint("role IN ('viewer', 'editor', 'admin')", name="role"),
    )
    op.create_table(
        "operator_sessions",
        *_every_table(),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the cookie, in hex."),
        sa.Column("started_at", MOMENT, nullable=False, comment="When the operator signed in."),
        sa.Column("used_at", MOMENT, nullable=False, comment="Last request, to the minute."),
        sa.Column("ends_at", MOMENT, nullable=False, comment="At the latest."),
        sa.Column("source", sa.String(64), nullable=False, comment="The address it began from."),
        sa.PrimaryKeyConstraint("id", name="pk_operator_sessions"),
        sa.UniqueConstraint("digest", name="uq_operator_sessions_digest"),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["operators.id"], ondelete="CASCADE", name="fk_operator_sessions_operator_id_operators"
        ),
    )
    for column in ("operator_id", "ends_at"):
        op.create_index(f"ix_operator_sessions_{column}", "operator_sessions", [column])


def _add_master_key() -> None:
    op.create_table(
        "master_key",
        sa.Column(
            "number", sa.Integer(), autoincrement=False, nullable=False, comment="1: a store has one master key."
        ),
        sa.Column(
            "fingerprint", sa.String(64), nullable=False, comment="HMAC-SHA-256 of a constant, in hex; not the key."
        ),
        sa.Column("place", sa.Text(), nullable=False, comment="Where the key was when the store began."),
        sa.PrimaryKeyConstraint("number", name="pk_master_key"),
        sa.CheckConstraint("number = 1", name="number"),
        comment="By what the master key of the store is known again.",
    )


def _add_audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The order of changes.",
        ),
        sa.Column("at", MOMENT, nullable=False, comment="When; UTC."),
        sa.Column("actor", sa.String(255), nullable=False, comment="Name of the operator, client or user of the host."),
        sa.Column("face", sa.String(8), nullable=False, comment="command, console, portal or system."),
        sa.Column(
            "source", sa.String(64), nullable=False, comment="The address it came from; empty on the host itself."
        ),
        sa.Column("operation_id", sa.String(36), nullable=False, comment="Of the request or command."),
        sa.Column("action", sa.String(40), nullable=False, comment="Such as apply, revoke, disable, rotate."),
        sa.Column("kind", sa.String(40), nullable=False, comment="What was changed: catalog, client, key, operator, …"),
        sa.Column("name", sa.Text(), nullable=False, comment="Which one."),
        sa.Column(
            "before",
            sa.JSON(none_as_null=True),
            comment="As it was; null when it was not there. Never a secret.",
        ),
        sa.Column("after", sa.JSON(none_as_null=True), comment="As it is; null when it is gone. Never a secret."),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_entries"),
        sa.CheckConstraint("face IN ('command', 'console', 'portal', 'system')", name="face"),
        comment="Who changed what; append-only.",
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    op.create_index("ix_audit_entries_kind_name", "audit_entries", ["kind", "name"])
    op.create_index("ix_audit_entries_actor", "audit_entries", ["actor"])
    _close_audit()


def _close_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entries_no_{event.lower()} BEFORE {event} ON audit_entries "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_entries_closed() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_closed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_closed()"
    )


def _open_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for event in ("update", "delete"):
            op.execute(f"DROP TRIGGER audit_entries_no_{event}")
        return
    op.execute("DROP TRIGGER audit_entries_closed ON audit_entries")
    op.execute("DROP FUNCTION audit_entries_closed()")


def _change_holds(former: sa.String, new: sa.String, comment: str) -> None:
    with op.batch_alter_table("holds") as table:
        table.alter_column("upstream", existing_type=former, existing_nullable=False, type_=new, comment=comment)


def _change_revocations(rules: dict[str, str], comments: dict[str, str]) -> None:
    with op.batch_alter_table("revocations") as table:
        for name, rule in rules.items():
            table.drop_constraint(op.f(f"ck_revocations_{name}"), type_="check")
            table.create_check_constraint(op.f(f"ck_revocations_{name}"), sa.text(rule))
        for name, comment in comments.items():
            table.alter_column(name, comment=comment)
