"""The objects of a catalog as a document writes them: what the store keeps, `diff` compares and `export` prints.

One value has one form: a key that holds its default is left out, durations and sizes have their largest whole unit.
Reading the form gives the value back. Field types are not in it, only what ``type:`` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entrepot.catalog.definitions import Catalog, Endpoint
from entrepot.catalog.tables import HTTP_CONCURRENCY, ODOO_CONCURRENCY, ODOO_CONTEXT
from entrepot.catalog.values import written_bytes, written_s
from entrepot.chassis.limits import Rate
from entrepot.connectors.base import (
    Argument,
    Auth,
    BreakerPolicy,
    CallMapping,
    Field,
    Json,
    ModelMapping,
    Probe,
    RelayMapping,
    Upstream,
)
from entrepot.identity.partners import Client, Partner, Plan, Quota
from entrepot.ledger.retry import DEFAULT_RETRY, RetryPolicy

Written = dict[str, Json]
Document = Mapping[str, Mapping[str, Json]]
"""Section → name → definition."""

_BREAKER = BreakerPolicy()


def document(catalog: Catalog) -> dict[str, dict[str, Written]]:
    """Return the document of the whole *catalog*, whose field types are not resolved."""
    clients: dict[str, dict[str, Written]] = {}
    for client in catalog.clients.values():
        clients.setdefault(client.partner, {})[client.name] = _client(client)
    return {
        "upstreams": {name: _upstream(upstream) for name, upstream in catalog.upstreams.items()},
        "endpoints": {name: _endpoint(endpoint) for name, endpoint in catalog.endpoints.items()},
        "partners": {name: _partner(partner, clients.get(name, {})) for name, partner in catalog.partners.items()},
        "plans": {name: _plan(plan) for name, plan in catalog.plans.items()},
    }


def _without_defaults(pairs: Mapping[str, tuple[Json, Json]]) -> Written:
    """Return of *pairs*, key → (value, default), the values that are not the default."""
    return {key: value for key, (value, default) in pairs.items() if value != default}


def _upstream(of: Upstream) -> Written:
    is_odoo = of.kind == "odoo"
    own_context = {
        key: value for key, value in of.context.items() if key not in ODOO_CONTEXT or ODOO_CONTEXT[key] != value
    }
    return {"kind": of.kind, "url": of.url} | _without_defaults(
        {
            "database": (of.database, ""),
            "login": (of.login, ""),
            "secret": (of.secret, ""),
            "protocol": (of.protocol, "auto"),
            "context": (own_context, {}),
            "auth": (_auth(of.auth), None),
            "headers": (dict(of.headers), {}),
            "timeout": (written_s(of.timeout_s), "20s"),
            "connect_timeout": (written_s(of.connect_timeout_s), "3s"),
            "concurrency": (of.concurrency, ODOO_CONCURRENCY if is_odoo else HTTP_CONCURRENCY),
            "waiting": (of.waiting, 256),
            "wait": (written_s(of.wait_s), "2s"),
            "breaker": (_breaker(of.breaker), {}),
            "ca": (of.ca, None),
            "verify": (of.verify, True),
            "probe": (_probe(of.probe), _probe(Probe()) if is_odoo else None),
            "settle": (written_s(of.settle_s), "130s"),
        }
    )


def _auth(auth: Auth | None) -> Json:
    if auth is None:
        return None
    if auth.kind == "bearer":
        return {"bearer": auth.secret}
    if auth.kind == "basic":
        return {"basic": {"user": auth.user, "password": auth.secret}}
    return {"header": {"name": auth.name, "value": auth.secret}}


def _breaker(of: BreakerPolicy) -> Written:
    pairs = {"failures": (of.failures, _BREAKER.failures), "open": (written_s(of.open_s), written_s(_BREAKER.open_s))}
    return _without_defaults(pairs)


def _probe(of: Probe | None) -> Json:
    if of is None:
        return None
    return _without_defaults({"path": (of.path, None)}) | {"every": written_s(of.every_s)}


def _rate(of: Rate | None) -> Json:
    return None if of is None else {"per_second": of.per_second, "burst": of.burst}


def _endpoint(of: Endpoint) -> Written:
    cache = None
    if of.cache is not None:
        cache = {"fresh": written_s(of.cache.fresh_s)} | _without_defaults(
            {"stale_if_error": (written_s(of.cache.stale_if_error_s), "0s")}
        )
    common = _without_defaults(
        {
            "aliases": (list(of.paths[1:]), []),
            "summary": (of.summary, ""),
            "description": (of.description, ""),
            "scopes": (_scopes(of), []),
            "write": (of.write, "direct"),
            "patience": (written_s(of.patience_s), "2s"),
            "order": (of.order, "record"),
            "idempotency": (of.idempotency, "optional"),
            "retry": (_retry(of.retry), {}),
            "rate": (_rate(of.rate), None),
            "cache": (cache, None),
            "max_body": (written_bytes(of.max_body_bytes), "1MiB"),
            "context": (dict(of.context), {}),
        }
    )
    return {"path": of.paths[0], "upstream": of.upstream} | _mapping(of) | common


def _retry(of: RetryPolicy) -> Written:
    return _without_defaults(
        {
            "first": (written_s(of.first_s), written_s(DEFAULT_RETRY.first_s)),
            "factor": (of.factor, DEFAULT_RETRY.factor),
            "ceiling": (written_s(of.ceiling_s), written_s(DEFAULT_RETRY.ceiling_s)),
            "age": (written_s(of.age_s), written_s(DEFAULT_RETRY.age_s)),
        }
    )


def _mapping(of: Endpoint) -> Written:
    if of.model is not None:
        return _model(of.model)
    if of.call is not None:
        return _call(of.call)
    return _relay(of.relay) if of.relay is not None else {}


def _scopes(of: Endpoint) -> Json:
    if of.read_scopes == of.write_scopes:
        return list(of.read_scopes)
    pairs: dict[str, tuple[Json, Json]] = {"read": (_scope(of.read_scopes), []), "write": (_scope(of.write_scopes), [])}
    return _without_defaults(pairs)


def _scope(scopes: tuple[str, ...]) -> Json:
    return scopes[0] if len(scopes) == 1 else list(scopes)


def _model(of: ModelMapping) -> Written:
    page = _without_defaults({"default": (of.page_default, 25), "max": (of.page_max, 100)})
    return {"model": of.model} | _without_defaults(
        {
            "key": (of.key, "id"),
            "where": (_thawed(of.where), []),
            "set": (dict(of.set), {}),
            "fields": (_fields(of.fields), None),
            "operations": (list(of.operations), ["list", "read"]),
            "search": (list(of.search), []),
            "sort": (list(of.sort), ["id"]),
            "page": (page, {}),
        }
    )


def _fields(fields: tuple[Field, ...]) -> Written:
    return {field.public: _field(field) for field in fields}


def _field(of: Field) -> Json:
    source = ".".join(of.source)
    more = _without_defaults(
        {
            "type": ("" if of.fields else of.type, ""),
            "required": (of.required, False),
            "read_only": (of.read_only, False),
            "write_only": (of.write_only, False),
            "max_length": (of.max_length, None),
            "enum": (None if of.enum is None else list(of.enum), None),
            "private": (of.private, False),
            "fields": (_fields(of.fields), {}),
        }
    )
    if of.has_default:
        more["default"] = of.default
    return {"from": source} | more if more else source


def _call(of: CallMapping) -> Written:
    return {"call": f"{of.model}.{of.method}"} | _without_defaults(
        {
            "method": (of.http_method, "POST"),
            "key": (of.key, "id"),
            "where": (_thawed(of.where), []),
            "arguments": ({argument.name: _argument(argument) for argument in of.arguments}, {}),
            "result": (None if of.result is None else dict(of.result), None),
            "guard": (_thawed(of.guard), None),
        }
    )


def _argument(of: Argument) -> Json:
    if of.body_field is None:
        return {"template": of.template} if isinstance(of.template, dict) else of.template
    pairs = {
        "body": (of.body_field, of.name),
        "type": (of.type, "string"),
        "required": (of.required, not of.has_default),
    }
    more = _without_defaults(pairs)
    if of.has_default:
        more["default"] = of.default
    return more


def _relay(of: RelayMapping) -> Written:
    headers = _without_defaults({"add": (dict(of.add_headers), {}), "drop": (list(of.drop_headers), [])})
    return {"relay": of.path, "methods": list(of.methods)} | _without_defaults(
        {"headers": (headers, {}), "body": (None if of.schema is None else {"schema": of.schema}, None)}
    )


def _partner(of: Partner, clients: dict[str, Written]) -> Written:
    return {"name": of.title} | _without_defaults(
        {
            "values": (dict(of.values), {}),
            "clients": (clients, {}),
            "max_queued": (of.max_queued, 100_000),
            "max_queued_bytes": (written_bytes(of.max_queued_bytes), "1GiB"),
        }
    )


def _client(of: Client) -> Written:
    return {"scopes": sorted(of.scopes)} | _without_defaults(
        {
            "rate": (_rate(of.rate), None),
            "quota": (_quota(of.quota), None),
            "plan": (of.plan, None),
            "networks": ([str(network) for network in of.networks], []),
            "api_keys": (of.api_keys, False),
        }
    )


def _plan(of: Plan) -> Written:
    return _without_defaults({"rate": (_rate(of.rate), None), "quota": (_quota(of.quota), None)})


def _quota(of: Quota | None) -> Json:
    return None if of is None else {"day": of.day}


def _thawed(value: Any) -> Json:
    return [_thawed(item) for item in value] if isinstance(value, list | tuple) else value
