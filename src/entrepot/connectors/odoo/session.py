"""One operation's way into Odoo: its context, its deadline, its records, and errors in the partner's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from entrepot.chassis.errors import Applied, Error
from entrepot.connectors.base import Caller, CallMapping, Field, Json, ModelMapping
from entrepot.connectors.faults import fault_of
from entrepot.connectors.fence import looking
from entrepot.connectors.odoo import domains
from entrepot.connectors.odoo.faults import Naming, Verb, naming_of, translated
from entrepot.connectors.odoo.reading import ID_FIELD, Row
from entrepot.connectors.odoo.values import from_text, record_id
from entrepot.connectors.odoo.wire import OdooError, OdooWire
from entrepot.connectors.odoo.writing import Draft, Key, ids_of, key_domain
from entrepot.errors import Conflict, RecordNotFound, UpstreamBadAnswer

FIELD_ATTRIBUTES = ["type", "required", "readonly", "relation", "selection", "searchable", "sortable"]
# Odoo leaves archived records out of searches; what has just been written must be found all the same.
ARCHIVED_TOO: Mapping[str, Json] = {"active_test": False}


class Session:
    """What *mapping* asks of Odoo for one request of *caller*. *verb* says which operation, for the words of errors.

    *where* is the domain of the caller's records. *applied* is what is known of the change that the request asks for,
    with all tries of it. Raises OutOfReach when a value that ``where`` needs is missing.
    """

    __slots__ = ("_caller", "_context", "_mapping", "_verb", "_wire", "applied", "where")

    def __init__(
        self,
        wire: OdooWire,
        context: Mapping[str, Json],
        mapping: ModelMapping | CallMapping,
        verb: Verb,
        caller: Caller,
    ) -> None:
        self._wire = wire
        self._context = {**context, **caller.context}
        self._mapping = mapping
        self._verb = verb
        self._caller = caller
        # Before anything is asked or written: a caller without the values that bind its records gets nowhere.
        self.where = domains.resolved(mapping.where, caller.values)
        self.applied: Applied = "no" if caller.earlier is None else "unknown"

    @property
    def deadline(self) -> float:
        """The moment of ``time.monotonic`` until which the caller waits."""
        return self._caller.deadline

    @property
    def memory(self) -> Mapping[str, Json]:
        """What an earlier try of the same change noted before it sent anything."""
        return {} if self._caller.earlier is None else self._caller.earlier.memory

    @property
    def is_noted(self) -> bool:
        """Whether somebody keeps what is noted, so that another try may follow."""
        return self._caller.remember is not None or bool(self.memory)

    @property
    def naming(self) -> Naming:
        """How the mapping calls Odoo's fields."""
        return naming_of(self._mapping)

    async def execute(
        self,
        method: str,
        args: Sequence[Json],
        kwargs: Mapping[str, Json] | None = None,
        *,
        model: str = "",
        context: Mapping[str, Json] | None = None,
    ) -> Json:
        """Call *method* of *model*, by default the mapping's, *context* over the endpoint's; it changes nothing."""
        with looking():
            return await self._execute(method, args, kwargs, model=model, context=context)

    async def _execute(
        self,
        method: str,
        args: Sequence[Json],
        kwargs: Mapping[str, Json] | None,
        *,
        model: str = "",
        context: Mapping[str, Json] | None,
    ) -> Json:
        merged = {**self._context, **context} if context else self._context
        try:
            return await self._wire.execute(
                model or self._mapping.model,
                method,
                args,
                {**(kwargs or {}), "context": merged},
                deadline=self._caller.deadline,
                operation_id=self._caller.operation_id,
            )
        except OdooError as error:
            raise translated(error, self._verb, self.naming) from error

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let the errors within say what is known of the change."""
        try:
            yield
        except Error as error:
            error.applied = self.applied
            raise

    async def remember(self, facts: Mapping[str, Json]) -> None:
        """Note *facts* for another try, if that is kept and nothing was noted before."""
        if self._caller.remember is not None and not self.memory:
            await self._caller.remember(facts)

    async def change(
        self,
        method: str,
        args: Sequence[Json],
        kwargs: Mapping[str, Json] | None = None,
        *,
        context: Mapping[str, Json] | None = None,
    ) -> Json:
        """Make the change that the request asks for by calling *method*, and note what is known of it."""
        before, self.applied = self.applied, "unknown"
        try:
            result = await self._execute(method, args, kwargs, context=context)
        except Error as error:
            if fault_of(error).applied == "no":
                self.applied = before
            raise
        self.applied = "yes"
        return result

    async def take_back(self, made: int) -> None:
        """Delete the record that the change has *made*."""
        with suppress(RecordNotFound):
            await self.change("unlink", [[made]])
        self.applied = "no"

    async def search(
        self,
        domain: Sequence[Json],
        fields: Sequence[str],
        limits: Mapping[str, Json],
        *,
        model: str = "",
        context: Mapping[str, Json] | None = None,
    ) -> list[Row]:
        """Return *fields* of the records in *domain* (``search_read``); *limits* are ``limit offset order``."""
        kwargs = {"domain": domain, "fields": fields, **limits}
        return _rows(await self.execute("search_read", [], kwargs, model=model, context=context))

    async def ask(self, model: str, ids: list[int], fields: list[str]) -> list[Row]:
        """Return *fields* of the records *ids* of *model* (``read``), of those that there are."""
        return _rows(await self.execute("read", [ids], {"fields": fields}, model=model))

    async def located(self, leaf: Sequence[Json], fields: Sequence[str]) -> Row:
        """Return *fields* of the caller's one record where *leaf* is true. Raises RecordNotFound or Conflict."""
        rows = await self.search(domains.joined(self.where, [leaf]), fields, {"limit": 2})
        if not rows:
            raise RecordNotFound("the record does not exist")
        if len(rows) > 1:
            raise Conflict("several records have this key")
        return rows[0]

    async def own(self, record_id: int, fields: Sequence[str]) -> Row:
        """Return *fields* of the caller's record with this id, archived or not. Raises RecordNotFound."""
        domain = domains.joined(self.where, [["id", "=", record_id]])
        rows = await self.search(domain, fields, {"limit": 1}, context=ARCHIVED_TOO)
        if not rows:
            raise RecordNotFound("the record does not exist")
        return rows[0]

    async def target(self, leaf: Sequence[Json]) -> int:
        """Return the id of the caller's one record where *leaf* is true; asks Odoo only when that is not plain."""
        if leaf[0] == "id" and not self._mapping.where:
            return int(leaf[2])
        return int((await self.located(leaf, ["id"]))["id"])

    async def ids_of_keys(self, draft: Draft) -> dict[Key, int]:
        """Return the ids of the natural keys in *draft*: one search for each comodel and key field.

        Raises InvalidBody with all mistakes of *draft*, unknown and ambiguous keys among them.
        """
        draft.check()
        groups: dict[tuple[str, str], list[Key]] = {}
        for key in draft.keys:
            groups.setdefault((key.model, key.field), []).append(key)
        ids: dict[Key, int] = {}
        for (model, name), keys in groups.items():
            rows = await self.search(key_domain(keys), [name], {}, model=model)
            ids.update(ids_of(keys, rows, draft))
        draft.check()
        return ids

    async def field_types(self, names: Sequence[str]) -> dict[str, dict[str, Json]]:
        """Return ``fields_get`` of *names*, of all fields when there are none."""
        answer = await self.execute("fields_get", [list(names)], {"attributes": FIELD_ATTRIBUTES})
        if not isinstance(answer, dict):
            raise UpstreamBadAnswer("the upstream does not tell the types of its fields")
        return answer


def key_field(mapping: ModelMapping) -> Field:
    """Return the field whose value stands in the path for ``{id}``."""
    return next((field for field in mapping.fields if field.public == mapping.key), ID_FIELD)


def key_leaf(field: Field, key: str) -> list[Json]:
    """Return the condition that *field* is *key*. Raises RecordNotFound when it cannot be, without asking Odoo."""
    value: Json = None
    if field.source == ("id",):
        value = record_id(key)
    else:
        try:
            value = from_text(key, field.type)
        except ValueError:
            value = None
    if value is None or value is False or value == "":
        raise RecordNotFound("the record does not exist")
    return [field.source[0], "=", value]


def _rows(answer: Json) -> list[Row]:
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise UpstreamBadAnswer("the upstream answered a question for records with something else")
    return answer
