"""What was sent with a transaction, for those who may look into it."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, select

from entrepot.ledger.entries import Json, PlanText
from entrepot.store.ledger import plans, transactions


@dataclass(frozen=True, slots=True)
class Contents:
    """What came with the request: *body* as it was sent, None once it was dropped; *facts* as in NewTransaction.

    *plan* says what the fields of the body are, and which are private; nothing of it is to be shown without.
    """

    plan: PlanText
    facts: dict[str, Json]
    body: bytes | None


def contents(connection: Connection, id_: str) -> Contents | None:
    """Return what was sent with transaction *id_*, or None when there is none of this id."""
    row = connection.execute(
        select(transactions.c.plan, plans.c.document, transactions.c.facts, transactions.c.body)
        .join(plans, plans.c.digest == transactions.c.plan)
        .where(transactions.c.id == id_)
    ).one_or_none()
    if row is None:
        return None
    return Contents(PlanText(row.plan, row.document), orjson.loads(row.facts), row.body)
