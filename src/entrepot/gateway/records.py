"""Work on records: from an exchange to the connector of its upstream, and from the result to an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import orjson

from entrepot.chassis.errors import Error, Mistake
from entrepot.connectors.base import Caller, CallMapping, Earlier, Json, ModelMapping, RecordConnector, Remember
from entrepot.connectors.delivery import location
from entrepot.errors import InvalidBody
from entrepot.gateway.answers import Answer, data_answer
from entrepot.gateway.paths import can_stand_in_path
from entrepot.gateway.queries import list_query, page_links, refuse_parameters, shown_fields

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Work = Callable[["Exchange", Caller], Awaitable[Answer]]


def start(work: Work, exchange: Exchange) -> None:
    """Begin *work* for *exchange* as a task."""
    gateway = exchange.gateway
    exchange.task = task = gateway.loop.create_task(_serve(work, exchange))
    gateway.tasks.add(task)
    task.add_done_callback(gateway.tasks.discard)


async def _serve(work: Work, exchange: Exchange) -> None:
    try:
        # Not the operation id, which a caller behind a trusted proxy may choose: it becomes part of an external id.
        transaction_id = exchange.gateway.operation_ids.new().decode("ascii")
        exchange.complete(await work(exchange, caller_of(exchange, transaction_id)))
    except Error as error:
        exchange.fail(error)
    except Exception as exc:  # noqa: BLE001 - the edge of a request
        exchange.crash(exc)


def caller_of(
    exchange: Exchange, transaction_id: str, *, earlier: Earlier | None = None, remember: Remember | None = None
) -> Caller:
    """Return who calls, for the try of *transaction_id* that begins now."""
    operation = exchange.operation
    return Caller(
        operation_id=exchange.operation_id.decode("ascii"),
        transaction_id=transaction_id,
        # From now on, not from the head: the upstream does not answer for a body that came slowly.
        deadline=monotonic() + operation.link.upstream.timeout_s,
        values={**exchange.principal.values, **path_values(exchange)},
        context=operation.endpoint.context,
        earlier=earlier,
        remember=remember,
    )


def path_values(exchange: Exchange) -> dict[str, str]:
    """Return the values of the path by name, decoded."""
    return dict(zip(exchange.operation.variables, map(_decoded, exchange.raw_values), strict=True))


def facts(exchange: Exchange) -> dict[str, Json]:
    """Return what a courier needs of a write, beside its body: the values of the path, decoded."""
    return {"variables": path_values(exchange)}


def facts_of_create(exchange: Exchange) -> dict[str, Json]:
    """Return what a courier needs of a create: also its path, for that is where the record will be."""
    return {**facts(exchange), "path": exchange.path.decode("latin-1")}


def check_no_parameters(exchange: Exchange) -> None:
    """Raise UnknownParameter when the request has a query: writes of records take none."""
    refuse_parameters(exchange.query)


def _decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode()


def _key(caller: Caller) -> str:
    return str(caller.values["id"])


def _if_match(exchange: Exchange) -> str | None:
    given = exchange.fields.get(b"if-match")
    return None if given is None else given.decode("latin-1")


class ModelWork:
    """The operations of a model endpoint."""

    def __init__(self, records: RecordConnector, mapping: ModelMapping) -> None:
        self._records = records
        self._mapping = mapping

    async def list(self, exchange: Exchange, caller: Caller) -> Answer:
        """Answer with a page of records and links to its neighbours."""
        asked = list_query(exchange.query, self._mapping)
        page = await self._records.list(self._mapping, asked, caller)
        links = page_links(
            exchange.gateway.public_url + exchange.path.decode("ascii"), exchange.query, asked, has_next=page.has_next
        )
        meta = b'"pagination":' + orjson.dumps(links)
        if page.total is not None:
            meta += b',"total":%d' % page.total
        return data_answer(200, page.records, meta=meta)

    async def read(self, exchange: Exchange, caller: Caller) -> Answer:
        """Answer with one record, or those of its fields that are asked for."""
        wanted = shown_fields(exchange.query, self._mapping)
        record = await self._records.read(self._mapping, _key(caller), caller)
        if wanted is not None:
            record = {name: value for name, value in record.items() if name in wanted}
        return data_answer(200, record)

    async def create(self, exchange: Exchange, caller: Caller) -> Answer:
        """Make a record and say where it is."""
        self.check(exchange)
        record = await self._records.create(self._mapping, exchange.document, caller)
        return data_answer(201, record, fields=location(exchange.path, record[self._mapping.key]))

    async def update(self, exchange: Exchange, caller: Caller) -> Answer:
        """Change a record, if it is still the one that ``If-Match`` names."""
        self.check(exchange)
        record = await self._records.update(
            self._mapping, _key(caller), exchange.document, caller, if_match=_if_match(exchange)
        )
        return data_answer(200, record)

    async def delete(self, exchange: Exchange, caller: Caller) -> Answer:
        """Delete a record, if it is still the one that ``If-Match`` names."""
        refuse_parameters(exchange.query)
        await self._records.delete(self._mapping, _key(caller), caller, if_match=_if_match(exchange))
        return Answer(204)

    def check(self, exchange: Exchange) -> None:
        """Refuse parameters, and in the body a key by which the record could not be reached."""
        refuse_parameters(exchange.query)
        key = exchange.document.get(self._mapping.key)
        if isinstance(key, str) and not can_stand_in_path(key):
            why = "cannot be the key of a record: it could not stand in a path"
            raise InvalidBody("the body has 1 mistake", errors=[Mistake(why, f"/{self._mapping.key}")])


class CallWork:
    """The operation of a call endpoint."""

    def __init__(self, records: RecordConnector, mapping: CallMapping) -> None:
        self._records = records
        self._mapping = mapping

    async def call(self, exchange: Exchange, caller: Caller) -> Answer:
        """Call the method and answer with its result."""
        refuse_parameters(exchange.query)
        key = _key(caller) if "id" in caller.values else None
        return data_answer(200, await self._records.call(self._mapping, key, exchange.document or {}, caller))
