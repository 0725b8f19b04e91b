"""What only Odoo knows of a body: which fields it requires, and which related records there are."""

from __future__ import annotations

import time
from collections.abc import Mapping

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import ModelMapping
from entrepot.connectors.odoo.faults import NO_SUCH_RECORD
from entrepot.connectors.odoo.session import ARCHIVED_TOO, Session
from entrepot.connectors.odoo.writing import Assigned, Draft, emptied, related
from entrepot.errors import UpstreamBadAnswer

KEPT_S = 300.0


class RequiredFields:
    """Which fields Odoo requires; asked once for each model, and again after ``KEPT_S``.

    Odoo does not always refuse null for one of them: some of its programs fail on it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    async def check(self, session: Session, mapping: ModelMapping, draft: Draft) -> None:
        """Make a mistake of each required field that *draft* gives no value. Asks Odoo only when one has none."""
        for model, name, pointer in emptied(mapping.model, draft.values):
            is_forced = model == mapping.model and name in mapping.set
            if not is_forced and name in await self._of(session, model):
                draft.mistakes.append(Mistake("must have a value", pointer))

    async def _of(self, session: Session, model: str) -> frozenset[str]:
        now = time.monotonic()
        asked_at, names = self._known.get(model, (0.0, frozenset[str]()))
        if asked_at == 0.0 or now > asked_at + KEPT_S:
            answer = await session.execute("fields_get", [], {"attributes": ["required"]}, model=model)
            if not isinstance(answer, dict):
                raise UpstreamBadAnswer("the upstream does not tell which fields it requires")
            names = frozenset(name for name, said in answer.items() if said.get("required"))
            self._known[model] = (now, names)
        return names


async def missing_relations(session: Session, values: Mapping[str, Assigned]) -> list[Mistake]:
    """Return a mistake for each field of *values* that names a record by an id which no record has."""
    given = list(related(values))
    there: dict[str, set[int]] = {}
    for model in dict.fromkeys(model for model, _, _ in given):
        ids = sorted({id_ for of, those, _ in given if of == model for id_ in those})
        rows = await session.search([["id", "in", ids]], ["id"], {}, model=model, context=ARCHIVED_TOO)
        there[model] = {row["id"] for row in rows}
    return [Mistake(NO_SUCH_RECORD, pointer) for model, ids, pointer in given if set(ids) - there[model]]
