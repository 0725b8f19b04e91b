"""The Odoo connector: records and calls of one Odoo database for partners, each kept to what is theirs.

``where`` of a mapping is part of every search, also before a write by id. A create is a ``load`` with an external id
made of the transaction, so the same transaction makes one record however often it is sent. An update is a ``write``:
Odoo offers no compare-and-set, so ``if_match`` narrows the gap between reading and writing and cannot close it.

A change whose outcome was lost is repeated with ``Caller.earlier``: a create and a delete find out by themselves, an
update by what it noted of the record (``repeats``), a call by its guard; a call without one is called again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import orjson

from entrepot.chassis.errors import Error
from entrepot.chassis.etag import strong_etag
from entrepot.connectors.base import Caller, CallMapping, Field, Json, ListQuery, ModelMapping, Page, Post, Upstream
from entrepot.connectors.faults import fault_of
from entrepot.connectors.odoo import domains, keys, load, repeats, writing
from entrepot.connectors.odoo.calls import arguments_of, result_of
from entrepot.connectors.odoo.checks import RequiredFields, missing_relations
from entrepot.connectors.odoo.faults import RelationMissing, Verb, load_fault
from entrepot.connectors.odoo.jsonrpc import JsonRpcWire
from entrepot.connectors.odoo.reading import Reader, Record, Row, list_fields, shown_fields
from entrepot.connectors.odoo.refusals import Refusals
from entrepot.connectors.odoo.session import ARCHIVED_TOO, Session, key_field, key_leaf
from entrepot.connectors.odoo.wire import OdooError, OdooWire
from entrepot.connectors.odoo.writing import Assigned, Draft
from entrepot.errors import (
    Conflict,
    OutcomeUnclear,
    PreconditionFailed,
    RecordNotFound,
    UpstreamBadAnswer,
    UpstreamMisconfigured,
    UpstreamRejected,
)

BASE_CONTEXT: Mapping[str, Json] = {"lang": "en_US", "tz": "UTC"}
MAX_READERS = 4096


class OdooConnector:
    """The records of one upstream of kind ``odoo``. Belongs to one event loop; keeps the login and what it compiled.

    Errors are those of ``entrepot.errors``; ``faults.fault_of`` says which may be tried again. *wire* is for other
    protocols than the JSON-RPC that is made of *post*. *refusals* is what is shared of logins that Odoo refuses.
    """

    kind: ClassVar[str] = "odoo"

    def __init__(
        self, upstream: Upstream, post: Post, *, wire: OdooWire | None = None, refusals: Refusals | None = None
    ) -> None:
        self._wire = wire if wire is not None else JsonRpcWire(upstream, post, refusals=refusals)
        self._context = {**BASE_CONTEXT, **upstream.context}
        self._readers: dict[tuple[int, bool], tuple[ModelMapping, Reader]] = {}
        self._types: dict[tuple[str, str], Field] = {}
        self._required = RequiredFields()

    async def list(self, mapping: ModelMapping, query: ListQuery, caller: Caller) -> Page:
        """Return a page of records: one ``search_read``, and one ``search_count`` when *total* is asked for.

        Raises UnknownParameter for filters, sort keys and fields that the mapping does not have.
        """
        session = self._session(mapping, "list", caller)
        domain = domains.joined(session.where, domains.list_domain(mapping, query))
        reader = (
            self._reader(mapping, listed=True) if query.fields is None else Reader(list_fields(mapping, query.fields))
        )
        limits = {"limit": query.limit + 1, "offset": query.offset, "order": domains.list_order(mapping, query)}
        rows = await session.search(domain, reader.names, limits)
        records = await reader.records(rows[: query.limit], session.ask)
        total = await session.execute("search_count", [domain]) if query.total else None
        return Page(records, len(rows) > query.limit, total)

    async def read(self, mapping: ModelMapping, key: str, caller: Caller) -> Record:
        """Return the record. Raises RecordNotFound, or Conflict when several records have *key*."""
        session = self._session(mapping, "read", caller)
        reader = self._reader(mapping)
        row = await session.located(key_leaf(key_field(mapping), key), reader.names)
        return (await reader.records([row], session.ask))[0]

    async def create(self, mapping: ModelMapping, record: Mapping[str, Json], caller: Caller) -> Record:
        """Make a record by ``load`` and return it as read; the same transaction makes it once.

        Raises InvalidBody, UpstreamRejected, Conflict (another record has the key, maybe one that was made at the same
        moment: then ours is deleted again). A record that Odoo puts outside ``where`` is deleted again and refused; one
        that an earlier attempt made and that has left it since stays. When an earlier try may have made the record,
        none of these is raised before it has been looked for.
        """
        session = self._session(mapping, "create", caller)
        with session.told():
            try:
                return await self._create(session, mapping, record, caller)
            except Error as error:
                if session.applied != "unknown" or fault_of(error).kind != "record":
                    raise
                made = await _made_earlier(session, load.external_id(mapping.model, caller.transaction_id))
                if made is None:
                    session.applied = "no"
                    raise
            session.applied = "yes"
            return await self._shown(session, mapping, made, "the record was made")

    async def update(
        self,
        mapping: ModelMapping,
        key: str,
        changes: Mapping[str, Json],
        caller: Caller,
        *,
        if_match: str | None = None,
    ) -> Record:
        """Change the record and return it as read. Null clears a field; a field that is not given stays.

        A list of lines replaces all lines: a line whose mapped ``id`` is one of the present lines is changed, one
        without is made, and every present line that is not in the list is deleted. Raises PreconditionFailed when
        *if_match* (one or more ETags, or ``*``) does not name the present state, and OutcomeUnclear when an earlier
        try may have been carried out and others have changed the record since.
        """
        session = self._session(mapping, "update", caller)
        draft = writing.drafted(shown_fields(mapping), changes, creating=False)
        with session.told():
            draft.check()
            listed = [name for name, assigned in draft.values.items() if assigned.field.fields]
            noted = repeats.noted(draft.values, mapping.set) if session.is_noted and draft.values else []
            row = await self._before(session, mapping, key, [*listed, *noted])
            if not await self._is_applied(session, mapping, draft, row, caller):
                session.applied = "no" if session.memory else session.applied
                await self._check_match(session, mapping, row, if_match)
                await self._change(session, mapping, draft, row, caller)
            return await self._shown(session, mapping, row["id"], "the record was changed")

    async def delete(self, mapping: ModelMapping, key: str, caller: Caller, *, if_match: str | None = None) -> None:
        """Delete the record. Raises RecordNotFound, PreconditionFailed, or Conflict when the upstream needs it.

        A record that is gone when an earlier try may have deleted it counts as deleted.
        """
        session = self._session(mapping, "delete", caller)
        with session.told():
            try:
                row = await self._before(session, mapping, key, [])
                await self._check_match(session, mapping, row, if_match)
                if mapping.key != "id":
                    await session.remember({"id": row["id"]})
                await session.change("unlink", [[row["id"]]])
            except RecordNotFound:
                if session.applied != "no" and not await self._is_there(session, mapping, key):
                    return
                session.applied = "no"
                raise

    async def call(self, mapping: CallMapping, key: str | None, body: Mapping[str, Json], caller: Caller) -> Json:
        """Call the method on the record whose key is *key*, or on the model, and return its result; none is null.

        When an earlier try may have been carried out and the guard is true of the record, it was, and its result is
        lost: that is null too. Raises RecordNotFound, InvalidBody and what the method's own rules give.
        """
        session = self._session(mapping, "call", caller)
        with session.told():
            args, kwargs = arguments_of(mapping, body, caller.values)
            if key is not None:
                leaf = key_leaf(Field(mapping.key, (mapping.key,)), key)
                if await _has_been_called(session, mapping, leaf, caller):
                    return None
                target = await session.target(leaf)
                if mapping.guard is not None and (mapping.where or mapping.key != "id"):
                    await session.remember({"id": target})
                args.insert(0, [target])
            elif mapping.where:
                raise UpstreamMisconfigured("the catalog binds this call to records, and its path names no record")
            return result_of(mapping, await session.change(mapping.method, args, kwargs))

    async def field_types(self, model: str, *, deadline: float) -> dict[str, dict[str, Json]]:
        """Return ``fields_get`` of *model*, by field; beside the types also ``searchable`` and ``sortable``."""
        session = self._session(CallMapping(model, "fields_get"), "call", Caller("", "", deadline))
        return await session.field_types([])

    async def probe(self, *, deadline: float) -> None:
        """Return when Odoo and its database answer; raise an UpstreamError otherwise."""
        await self._wire.version(deadline=deadline)

    def _session(self, mapping: ModelMapping | CallMapping, verb: Verb, caller: Caller) -> Session:
        return Session(self._wire, self._context, mapping, verb, caller)

    def _reader(self, mapping: ModelMapping, *, listed: bool = False) -> Reader:
        # The mapping is kept beside its reader, so that its id stays its own.
        kept = self._readers.get((id(mapping), listed))
        if kept is None:
            if len(self._readers) >= MAX_READERS:
                self._readers.clear()
            reader = Reader(list_fields(mapping, None) if listed else shown_fields(mapping))
            kept = self._readers[id(mapping), listed] = (mapping, reader)
        return kept[1]

    async def _create(
        self, session: Session, mapping: ModelMapping, record: Mapping[str, Json], caller: Caller
    ) -> Record:
        draft = writing.drafted(shown_fields(mapping), record, creating=True)
        load.check_lines(draft)
        keys.check_given(mapping, draft)
        draft.check()
        await self._required.check(session, mapping, draft)
        ids = await session.ids_of_keys(draft)
        external = load.external_id(mapping.model, caller.transaction_id)
        values = draft.values | await self._forced(session, mapping, caller)
        bound = domains.settled_by(mapping.where, mapping.set)
        taken = await keys.holders(session, mapping, draft)
        earlier = await _made_earlier(session, external) if taken or not bound else None
        keys.check_free(mapping, taken - {earlier})
        made = await _load(session, load.rows(values, ids, external))
        if earlier is None:
            await keys.keep_or_delete(session, mapping, draft, made)
        found = await self._read_back(session, mapping, made)
        if found is None and earlier is None and not bound:
            await session.take_back(made)
            raise UpstreamRejected("the record would not be one of the caller's, so it was not kept")
        if found is None:
            raise Conflict("the record was made, and is not one of the caller's any more")
        return found

    async def _change(self, session: Session, mapping: ModelMapping, draft: Draft, row: Row, caller: Caller) -> None:
        lines = _lines(draft, row)
        writing.check_lines(draft, lines)
        await self._required.check(session, mapping, draft)
        ids = await session.ids_of_keys(draft)
        if not draft.values:
            return
        keys.check_free(mapping, await keys.holders(session, mapping, draft) - {row["id"]})
        values = draft.values | await self._forced(session, mapping, caller)
        if session.is_noted and not session.memory:
            await session.remember(await repeats.facts(session, values, ids, row, lines))
        await _write(session, row["id"], values, writing.written(values, ids, lines))

    async def _is_applied(
        self, session: Session, mapping: ModelMapping, draft: Draft, row: Row, caller: Caller
    ) -> bool:
        """Tell whether an earlier try was carried out. Raises OutcomeUnclear when others have changed the record."""
        lines = _lines(draft, row)
        if not draft.values or not repeats.may_show(session.memory, row, lines):
            return False
        ids = await session.ids_of_keys(draft)
        values = draft.values | await self._forced(session, mapping, caller)
        if await repeats.hold(session, values, ids, row, lines):
            session.applied = "yes"
            return True
        if repeats.is_touched(session.memory, row, lines):
            raise OutcomeUnclear("the record was changed after an earlier try, which may have been carried out or not")
        return False

    async def _shown(self, session: Session, mapping: ModelMapping, record_id: int, done: str) -> Record:
        found = await self._read_back(session, mapping, record_id)
        if found is None:
            raise Conflict(f"{done}, and is not one of the caller's any more")
        return found

    async def _read_back(self, session: Session, mapping: ModelMapping, made: int) -> Record | None:
        reader = self._reader(mapping)
        domain = domains.joined(session.where, [["id", "=", made]])
        rows = await session.search(domain, reader.names, {"limit": 1}, context=ARCHIVED_TOO)
        return (await reader.records(rows, session.ask))[0] if rows else None

    async def _before(self, session: Session, mapping: ModelMapping, key: str, names: Sequence[str]) -> Row:
        """Return *names* of the record that is to be changed; the one that an earlier try found, if it noted it."""
        if "id" in session.memory:
            return await session.own(session.memory["id"], ["id", *names])
        leaf = key_leaf(key_field(mapping), key)
        if not names:
            return {"id": await session.target(leaf)}
        if leaf[0] == "id" and not mapping.where:
            return await session.own(int(leaf[2]), ["id", *names])
        return await session.located(leaf, ["id", *names])

    async def _check_match(self, session: Session, mapping: ModelMapping, row: Row, if_match: str | None) -> None:
        if if_match is None:
            return
        found = await self._read_back(session, mapping, row["id"])
        if found is None:
            raise RecordNotFound("the record does not exist")
        tags = [tag.strip() for tag in if_match.split(",")]
        if "*" not in tags and strong_etag(orjson.dumps(found)) not in tags:
            raise PreconditionFailed("If-Match does not name the present state of the record")

    async def _is_there(self, session: Session, mapping: ModelMapping, key: str) -> bool:
        """Tell whether the record that was to be deleted is there all the same, out of the caller's reach."""
        leaf = key_leaf(key_field(mapping), key)
        known = session.memory.get("id") or (leaf[2] if leaf[0] == "id" else None)
        if known is None:
            return False
        return bool(await session.search([["id", "=", known]], ["id"], {"limit": 1}, context=ARCHIVED_TOO))

    async def _forced(self, session: Session, mapping: ModelMapping, caller: Caller) -> dict[str, Assigned]:
        if not mapping.set:
            return {}
        known = {field.source[0]: field for field in mapping.fields if len(field.source) == 1 and not field.fields}
        unknown = [name for name in mapping.set if name not in known and (mapping.model, name) not in self._types]
        if unknown:
            answer = await session.field_types(unknown)
            for name in unknown:
                if name not in answer:
                    raise UpstreamMisconfigured(
                        "the catalog forces a value for a field that the upstream does not have"
                    )
                self._types[mapping.model, name] = Field(name, (name,), str(answer[name]["type"]))
        types = {name: known.get(name) or self._types[mapping.model, name] for name in mapping.set}
        try:
            return writing.forced(types, domains.filled(mapping.set, caller.values))
        except (TypeError, ValueError) as error:
            raise UpstreamMisconfigured("the catalog forces a value that its field cannot have") from error


def _lines(draft: Draft, row: Row) -> dict[str, list[int]]:
    return {name: row[name] for name, assigned in draft.values.items() if assigned.field.fields}


async def _load(session: Session, table: tuple[list[str], list[list[str]]]) -> int:
    before = session.applied
    answer = await session.change("load", list(table), context=load.CONTEXT)
    if not isinstance(answer, dict):
        session.applied = "unknown"
        raise UpstreamBadAnswer("the upstream does not say which record it made")
    made = answer.get("ids")
    if answer.get("messages") or not isinstance(made, list) or len(made) != 1:
        messages = answer.get("messages") or []
        session.applied = before
        raise load_fault(messages, session.naming) from OdooError("load", str(messages))
    return int(made[0])


async def _write(session: Session, record_id: int, values: Mapping[str, Assigned], written: dict[str, Json]) -> None:
    try:
        await session.change("write", [[record_id], written])
    except RelationMissing as error:
        # The name of the constraint does not tell the field of a many2many or of a line.
        error.errors = tuple(await missing_relations(session, values))
        raise


async def _has_been_called(session: Session, mapping: CallMapping, leaf: Sequence[Json], caller: Caller) -> bool:
    """Tell whether the guard says that an earlier try was carried out; False when there was none."""
    if mapping.guard is None or session.applied == "no":
        return False
    noted = session.memory.get("id")
    target = await session.target(leaf) if noted is None else noted
    domain = domains.joined([["id", "=", target]], domains.resolved(mapping.guard, caller.values))
    done = bool(await session.search(domain, ["id"], {"limit": 1}, context=ARCHIVED_TOO))
    session.applied = "yes" if done else "no"
    return done


async def _made_earlier(session: Session, external: str) -> int | None:
    """Return the id of the record that an earlier attempt of the same transaction made."""
    return await session.execute("xmlid_to_res_id", [external], model="ir.model.data") or None
