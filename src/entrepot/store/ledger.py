"""The tables of the ledger: transactions, their attempts, idempotency keys, and what holds an upstream's work back.

Plain tables, no mapped classes: rows are written by the thousand a second and changed by conditions, not as objects.
Moments are seconds since 1970. The indexes hold unfinished rows only where that is what they are for, so that finished
ones cost nothing.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from entrepot.store.base import Base

# What partial indexes hold, as a format of the table's name with its dot. A query that asks in other words does not
# find the index.
HOLDS_FOLLOWERS = "{0}order_key IS NOT NULL AND {0}state NOT IN ('delivered', 'cancelled')"
HAS_BODY = "{0}state IN ('delivered', 'cancelled') AND {0}size > 0"
HAS_ANSWER = "{0}size > 0"

_serial = BigInteger().with_variant(Integer, "sqlite")

plans = Table(
    "ledger_plans",
    Base.metadata,
    Column("digest", String(64), primary_key=True, comment="SHA-256 of the document."),
    Column("document", Text, nullable=False, comment="What an endpoint did when work was accepted; catalog.plans."),
    comment="What accepted work is to do, once for all rows that do the same.",
)

transactions = Table(
    "transactions",
    Base.metadata,
    Column("seq", _serial, primary_key=True, comment="The order of acceptance."),
    Column("id", String(36), nullable=False, comment="What partners know it by; a UUID of version 7 (RFC 9562)."),
    Column("partner", String(255), nullable=False),
    Column("client", String(255), nullable=False),
    Column("endpoint", String(80), nullable=False),
    Column("upstream", String(80), nullable=False),
    Column("kind", String(8), nullable=False, comment="create, update, delete, call or relay."),
    Column("operation_id", String(36), nullable=False, comment="Of the request that brought it."),
    Column("plan", String(64), ForeignKey("ledger_plans.digest"), nullable=False),
    Column("target", Text, nullable=False, comment="Method and target of the request, as it was sent."),
    Column("facts", Text, nullable=False, comment="JSON: path values, the partner's values, header lines to pass on."),
    Column("body", LargeBinary, comment="As it was sent; dropped some days after the end."),
    Column("size", Integer, nullable=False, comment="Bytes counted for the partner: body, facts, answer."),
    Column("order_key", String(64), comment="Work with the same is delivered in order; null: in any order."),
    Column("state", String(10), nullable=False),
    Column("applied", String(7), nullable=False),
    Column("reason", String(16), comment="Why it is held: upstream, conflict or client."),
    Column("due_at", Float, comment="When it may be tried; null while it follows another, is held, sent, or finished."),
    Column("accepted_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, comment="A failure after this is the last."),
    Column("finished_at", Float, comment="When it was delivered, cancelled, or died."),
    Column("attempts", Integer, nullable=False, comment="Tries that may have reached the upstream."),
    Column("lease", String(36), comment="Whoever holds it names this to settle it."),
    Column("leased_until", Float),
    Column("memory", Text, comment="JSON: what the connector noted before the first try."),
    Column(
        "rests_until", Float,
        comment="The upstream may be at work on it until then, so that it is not tried before; null: it is not.",
    ),
    Column("answer", LargeBinary, comment="JSON: status, header lines, data; once delivered."),
    Column("problem", Text, comment="JSON: the problem as partners see it, of the last failure."),
    CheckConstraint(
        "state IN ('queued', 'sending', 'waiting', 'delivered', 'dead', 'held', 'cancelled')", name="state"
    ),
    CheckConstraint("applied IN ('no', 'yes', 'unknown')", name="applied"),
    Index("uq_transactions_id", "id", unique=True),
    # Claiming: for an upstream, partner by partner, what is due. Only rows that wait stand in it.
    Index(
        "ix_transactions_due", "upstream", "partner", "due_at", "seq",
        sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL"),
    ),
    # The next of an ordering key, and whether there is one at all. A dead head is part of it: it holds the others.
    Index(
        "ix_transactions_order", "order_key", "seq",
        sqlite_where=text(HOLDS_FOLLOWERS.format("")), postgresql_where=text(HOLDS_FOLLOWERS.format("")),
    ),
    Index(
        "ix_transactions_leases", "leased_until",
        sqlite_where=text("leased_until IS NOT NULL"), postgresql_where=text("leased_until IS NOT NULL"),
    ),
    Index(
        "ix_transactions_finished", "finished_at",
        sqlite_where=text("finished_at IS NOT NULL"), postgresql_where=text("finished_at IS NOT NULL"),
    ),
    # Of what is over, that which still has a body: what has lost it is not looked at again.
    Index(
        "ix_transactions_bodies", "partner", "finished_at",
        sqlite_where=text(HAS_BODY.format("")), postgresql_where=text(HAS_BODY.format("")),
    ),
    Index("ix_transactions_partner", "partner", "state", "seq"),
    # Whether a plan is named yet; also asked by the database itself when one is dropped.
    Index("ix_transactions_plan", "plan"),
)  # fmt: skip

attempts = Table(
    "attempts",
    Base.metadata,
    Column("id", _serial, primary_key=True),
    Column("transaction_seq", _serial, ForeignKey("transactions.seq", ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False, comment="From 1."),
    Column("courier", String(80), nullable=False, comment="Who tried: host and process."),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Column("outcome", String(10), nullable=False, comment="delivered, or the class of the fault."),
    Column("status", Integer, nullable=False, comment="HTTP status that stands for what came of it."),
    Column("code", String(40), nullable=False, comment="Of the error; empty when delivered."),
    Column("detail", Text, nullable=False, comment="For operators; holds no secret and no body."),
)

queues = Table(
    "queues",
    Base.metadata,
    Column("upstream", String(80), primary_key=True),
    Column("partner", String(255), primary_key=True),
    Column("unfinished", Integer, nullable=False, comment="Transactions accepted and not finished."),
    Column("bytes", BigInteger, nullable=False, comment="Their sizes."),
    Column("dead_bytes", BigInteger, nullable=False, comment="The sizes of dead transactions."),
    Column("kept_bytes", BigInteger, nullable=False, comment="Of what is over, and of answers kept for keys."),
    comment="Counted with each change: what is asked for at every acceptance must not be a count of rows.",
)

idempotency_keys = Table(
    "idempotency_keys",
    Base.metadata,
    Column("digest", String(64), primary_key=True, comment="SHA-256 of client, endpoint and key."),
    Column("request", String(64), nullable=False, comment="SHA-256 of method, path, query and body."),
    Column("transaction_id", String(36), nullable=False),
    Column("queued", Integer, nullable=False, comment="1: the answer is the transaction's 202."),
    Column("leased_until", Float, comment="Somebody is at work on it until then."),
    Column("answer", LargeBinary, comment="JSON: status, header lines, body; once it is known."),
    Column("memory", Text, comment="JSON: what the connector noted before the first try."),
    Column("expires_at", Float, nullable=False, index=True),
    Column("partner", String(255), nullable=False, server_default=text("''"), comment="Empty for what is queued."),
    Column("upstream", String(80), nullable=False, server_default=text("''"), comment="Empty for what is queued."),
    Column(
        "size", Integer, nullable=False, server_default="0",
        comment="Bytes of the answer; 0 when there is none, or its body is gone.",
    ),
    # What a partner's answers are dropped by, the oldest first.
    Index(
        "ix_idempotency_keys_answers", "partner", "expires_at",
        sqlite_where=text(HAS_ANSWER.format("")), postgresql_where=text(HAS_ANSWER.format("")),
    ),
)  # fmt: skip

holds = Table(
    "holds",
    Base.metadata,
    # Room for the prefix of clients, and for the longest name that can be disabled.
    Column("upstream", String(262), primary_key=True, comment="'*' for all: maintenance; client:NAME for a client."),
    Column("reason", String(16), nullable=False, comment="maintenance or misconfigured."),
    Column("detail", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("until", Float, comment="When it ends by itself; null: never."),
    comment="Upstreams that nothing is delivered to.",
)
