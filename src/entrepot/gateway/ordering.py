"""Ordering keys: writes with the same key are delivered one after the other (``order`` of an endpoint)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import orjson

from entrepot.catalog.definitions import Endpoint
from entrepot.connectors.base import Json

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Order = Callable[["Exchange"], str | None]


def order_of(endpoint: Endpoint, kind: str, variables: tuple[str, ...]) -> Order:
    """Return the function that gives the ordering key of a request, None when it may go in any order.

    *kind* is that of the operation, *variables* name the values of its path.
    """
    rule, _, name = endpoint.order.partition(":")
    if rule == "record":
        return _record_order(endpoint, kind, variables)
    if rule == "partner":
        return partial(_of_partner, ("partner", endpoint.upstream))
    if rule == "endpoint":
        key = _digest("endpoint", endpoint.name)
        return lambda _exchange: key
    if rule == "field":
        return partial(_of_field, ("field", endpoint.name), name)
    return _in_any_order


def _record_order(endpoint: Endpoint, kind: str, variables: tuple[str, ...]) -> Order:
    if endpoint.relay is not None:
        return partial(_of_path, ("path", endpoint.name)) if variables else _in_any_order
    if endpoint.model is not None:
        mapping = endpoint.model
        source = next((field.source for field in mapping.fields if field.public == mapping.key), ("id",))
        about = ("record", endpoint.upstream, mapping.model, ".".join(source))
        if kind == "create":
            if mapping.key == "id":
                return _in_any_order
            return partial(_of_new_record, about, mapping.key, bool(mapping.where))
        return partial(_of_record, about, variables.index("id"), bool(mapping.where))
    if endpoint.call is not None and "id" in variables:
        about = ("record", endpoint.upstream, endpoint.call.model, endpoint.call.key)
        return partial(_of_record, about, variables.index("id"), bool(endpoint.call.where))
    return _in_any_order


def _in_any_order(_exchange: Exchange) -> None:
    return None


def _of_partner(about: tuple[str, ...], exchange: Exchange) -> str:
    return _digest(*about, exchange.principal.partner.name)


def _of_field(about: tuple[str, ...], name: str, exchange: Exchange) -> str | None:
    document = exchange.document
    if not isinstance(document, dict) or document.get(name) is None:
        return None
    return _digest(*about, exchange.principal.partner.name, document[name])


def _of_path(about: tuple[str, ...], exchange: Exchange) -> str:
    values = [_decoded(value) for value in exchange.raw_values]
    return _digest(*about, exchange.principal.partner.name, *values)


def _of_record(about: tuple[str, ...], index: int, is_bound: bool, exchange: Exchange) -> str:
    return _record(about, _decoded(exchange.raw_values[index]), is_bound, exchange)


def _of_new_record(about: tuple[str, ...], key: str, is_bound: bool, exchange: Exchange) -> str | None:
    value = exchange.document.get(key)
    if value is None:
        return None
    return _record(about, value if isinstance(value, str) else orjson.dumps(value).decode(), is_bound, exchange)


def _record(about: tuple[str, ...], value: str, is_bound: bool, exchange: Exchange) -> str:
    """Where records are bound to the caller, the same key of another partner is another record."""
    if value.isdigit():
        value = value.lstrip("0")
    return _digest(*about, value, exchange.principal.partner.name if is_bound else None)


def _decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode()


def _digest(*parts: Json) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
