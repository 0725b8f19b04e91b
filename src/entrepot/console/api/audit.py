"""The audit log."""

from __future__ import annotations

from typing import Any

from entrepot.console.api.moments import read
from entrepot.console.rows import Call
from entrepot.store.audit import Wanted, entries


def listing(call: Call) -> list[dict[str, Any]]:
    """List the changes that fit, the latest first."""
    query = call.query
    since, until = (read(query, name) for name in ("since", "until"))
    wanted = Wanted(query.get("actor"), query.get("action"), query.get("kind"), query.get("name"), since, until)
    with call.console.services.database.reading() as session:
        return [entry.as_json() for entry in entries(session, wanted, call.page.wanted, offset=call.page.offset)]
