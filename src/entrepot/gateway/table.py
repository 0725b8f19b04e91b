"""A catalog made ready: the routing table and the principals of one revision. Immutable; workers swap it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial

from entrepot.catalog.definitions import Catalog, Endpoint
from entrepot.catalog.kept import kept_by_subject, subject
from entrepot.catalog.routing import Router
from entrepot.catalog.schemas import body_schema
from entrepot.chassis.limits import Limiter
from entrepot.connectors.base import CallMapping, Json, ModelMapping, RelayMapping
from entrepot.connectors.http import own_names
from entrepot.connectors.links import Reach
from entrepot.connectors.odoo.domains import template_names
from entrepot.gateway import records, relay
from entrepot.gateway.exchange import Exchange
from entrepot.gateway.operations import Kind, Operation, Place
from entrepot.gateway.ordering import Subject, shared_subjects
from entrepot.gateway.principals import Principals
from entrepot.gateway.records import CallWork, ModelWork
from entrepot.gateway.relay import RelayWork
from entrepot.gateway.rules import Work, WriteRule

MAX_REMEMBERED, MAX_REMEMBERED_PATH = 4096, 128
_NEGOTIATED = (b"accept", b"accept-encoding", b"accept-language")
_READS = {b"GET", b"HEAD", b"OPTIONS"}
_MODEL_METHODS: dict[str, tuple[bytes, bool]] = {
    "list": (b"GET", False),
    "create": (b"POST", False),
    "read": (b"GET", True),
    "update": (b"PATCH", True),
    "delete": (b"DELETE", True),
}


@dataclass(frozen=True, slots=True)
class Table:
    """What a worker serves from: *router* finds places, *principals* are the clients, *endpoints* those by name.

    *recent* holds what was found last, so that a path asked for often costs one look-up.
    """

    revision: int
    router: Router[Place]
    principals: Principals
    endpoints: Mapping[str, Endpoint]
    recent: dict[bytes, tuple[Place, tuple[bytes, ...]]] = field(default_factory=dict)

    def remember(self, path: bytes, found: tuple[Place, tuple[bytes, ...]]) -> None:
        """Note what stands at *path*."""
        if len(path) <= MAX_REMEMBERED_PATH:
            if len(self.recent) >= MAX_REMEMBERED:
                self.recent.clear()
            self.recent[path] = found


def build(catalog: Catalog, reach: Reach, limiter: Limiter) -> Table:
    """Return the table of *catalog*, whose upstreams are reached by *reach*.

    Raises SettingsError when a secret cannot be read.
    """
    places: dict[str, dict[bytes, Operation]] = {}
    kept = kept_by_subject(catalog)
    shared = shared_subjects(catalog.endpoints.values())
    for endpoint in catalog.endpoints.values():
        ends = kept.get(subject(endpoint), ())
        for path, method, operation in _Compiler(endpoint, reach, limiter, ends, shared).operations():
            places.setdefault(path, {})[method] = operation
    router = Router((path, Place(found, _allow(found))) for path, found in places.items())
    return Table(catalog.revision, router, Principals(catalog, limiter), catalog.endpoints)


def _allow(operations: dict[bytes, Operation]) -> str:
    names = {method.decode("ascii") for method in operations} | {"OPTIONS"}
    return ", ".join(sorted(names))


class _Compiler:
    """Makes the operations of one endpoint."""

    def __init__(
        self, endpoint: Endpoint, reach: Reach, limiter: Limiter, ends: tuple[str, ...], shared: frozenset[Subject]
    ) -> None:
        self._endpoint = endpoint
        self._link = reach.links[endpoint.upstream]
        self._connectors = reach.connectors
        rate = endpoint.rate
        self._bucket = limiter.bucket(f"endpoint:{endpoint.name}", rate, policy="endpoint") if rate else None
        self._ends = ends
        self._shared = shared

    def operations(self) -> Iterator[tuple[str, bytes, Operation]]:
        """Yield path, method and operation of all that the endpoint does."""
        for path in self._endpoint.paths:
            for where, method, operation in self._at(path):
                yield where, method, operation
                if method == b"GET":
                    yield where, b"HEAD", operation

    def _at(self, path: str) -> Iterator[tuple[str, bytes, Operation]]:
        endpoint = self._endpoint
        if endpoint.relay is not None:
            return self._relay(path, endpoint.relay)
        records = self._connectors[endpoint.upstream]
        if endpoint.model is not None:
            return self._model(path, endpoint.model, ModelWork(records, endpoint.model))
        if endpoint.call is not None:
            return self._call(path, endpoint.call, CallWork(records, endpoint.call))
        return iter(())

    def _model(self, path: str, mapping: ModelMapping, work: ModelWork) -> Iterator[tuple[str, bytes, Operation]]:
        for kind in mapping.operations:
            method, single = _MODEL_METHODS[kind]
            where = path.rstrip("/") + "/{id}" if single else path
            schema = partial(body_schema, mapping, kind) if kind in {"create", "update"} else None
            act = partial(records.start, getattr(work, kind))
            check = records.check_no_parameters if schema is None else work.check
            facts = records.facts_of_create if kind == "create" else records.facts
            rule = self._rule(where, method, kind, getattr(work, kind), check, facts)
            yield where, method, self._operation(where, method, kind, act, schema, rule)

    def _call(self, path: str, mapping: CallMapping, work: CallWork) -> Iterator[tuple[str, bytes, Operation]]:
        method = mapping.http_method.encode("ascii")
        schema = partial(body_schema, mapping, "call")
        act = partial(records.start, work.call)
        rule = self._rule(path, method, "call", work.call, records.check_no_parameters, records.facts)
        yield path, method, self._operation(path, method, "call", act, schema, rule)

    def _relay(self, path: str, mapping: RelayMapping) -> Iterator[tuple[str, bytes, Operation]]:
        work = RelayWork(mapping, self._link, variables(path))
        for name in mapping.methods:
            method = name.encode("ascii")
            schema = None if method in _READS or mapping.schema is None else partial(_given, mapping.schema)
            rule = self._rule(path, method, "relay", work.whole, relay.check, relay.facts)
            yield path, method, self._operation(path, method, "relay", work.start, schema, rule)

    def _rule(
        self,
        path: str,
        method: bytes,
        kind: Kind,
        work: Work,
        check: Callable[[Exchange], None],
        facts: Callable[[Exchange], dict[str, Json]],
    ) -> WriteRule | None:
        if method in _READS or kind == "list" or kind == "read":  # noqa: PLR1714 - by which mypy knows the others
            return None
        return WriteRule(
            endpoint=self._endpoint, upstream=self._link.upstream, kind=kind, method=method.decode("ascii"),
            variables=variables(path), work=work, check=check, facts=facts, shared=self._shared,
        )  # fmt: skip

    def _own_names(self, path: str) -> tuple[str, ...]:
        """Return the values of the caller that an answer may depend on, wherever the catalog names them."""
        endpoint = self._endpoint
        if endpoint.relay is not None:
            return own_names(endpoint.relay.path, variables(path))
        mapping = endpoint.model or endpoint.call
        names = template_names(mapping.where) if mapping is not None else set()
        if endpoint.call is not None:
            names |= {name for argument in endpoint.call.arguments for name in template_names(argument.template)}
        return tuple(sorted(names))

    def _operation(
        self,
        path: str,
        method: bytes,
        kind: Kind,
        act: Callable[[Exchange], None],
        schema: Callable[[], Json] | None,
        rule: WriteRule | None,
    ) -> Operation:
        endpoint = self._endpoint
        scopes = endpoint.read_scopes if method in _READS else endpoint.write_scopes
        return Operation(
            endpoint=endpoint, kind=kind, variables=variables(path), scopes=_scopes(scopes), link=self._link,
            act=act, rule=rule, bucket=self._bucket, cache=endpoint.cache if method in _READS else None,
            schema=schema, own_names=self._own_names(path),
            ends=() if method in _READS else self._ends, negotiated=_NEGOTIATED if kind == "relay" else (),
        )  # fmt: skip


def _given(schema: Json) -> Json:
    return schema


_scopes = lru_cache(maxsize=4096)(frozenset[str])


def variables(path: str) -> tuple[str, ...]:
    """Return the names of the variables of a path template, in order."""
    return tuple(part[1:-1].removesuffix("...") for part in path.split("/") if part.startswith("{"))
