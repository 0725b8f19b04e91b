"""Forget tokens and revocations that are over, in steps: on a busy host there are millions of them.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from entrepot.identity.rows import moment
from entrepot.store import identity as tables

# How long operators see a token that has expired, and that it was revoked.
KEPT_S = 30 * 86_400.0
# Others that write wait meanwhile: some milliseconds.
STEP = 500


def prune(connection: Connection, now: float, limit: int) -> int:
    """Forget *limit* tokens and revocations, at most, that expired ``KEPT_S`` ago; return how many there were."""
    count = 0
    for table in (tables.Token, tables.Revocation):
        over = select(table.id).where(table.expires_at < moment(now - KEPT_S)).limit(limit - count)
        count += connection.execute(delete(table).where(table.id.in_(over))).rowcount
    return count
