"""Ordering keys: writes with the same key are delivered one after the other (``order`` of an endpoint)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import orjson

from entrepot.catalog.definitions import Endpoint
from entrepot.connectors.base import Json
from entrepot.connectors.odoo.domains import template_names

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Order = Callable[["Exchange"], str | None]
Subject = tuple[str, ...]
"""What a key names a record of: upstream, model, and the field of Odoo that is the key."""


def order_of(endpoint: Endpoint, kind: str, variables: tuple[str, ...], shared: frozenset[Subject]) -> Order:
    """Return the function that gives the ordering key of a request, None when it may go in any order.

    *kind* is that of the operation, *variables* name the values of its path; *shared* is what ``shared_subjects`` says
    of all endpoints.
    """
    rule, _, name = endpoint.order.partition(":")
    if rule == "record":
        return _record_order(endpoint, kind, variables, shared)
    if rule == "partner":
        return partial(_of_partner, ("partner", endpoint.upstream))
    if rule == "endpoint":
        key = _digest("endpoint", endpoint.name)
        return lambda _exchange: key
    if rule == "field":
        return partial(_of_field, ("field", endpoint.name), name)
    return _in_any_order


def other_order_of(endpoint: Endpoint, kind: str, variables: tuple[str, ...], shared: frozenset[Subject]) -> Order:
    """Return the function that gives what the same record's ordering key is when other endpoints reach it.

    Writes may wait under it: an endpoint that came or went may have made the subject one of *shared*, or of the others.
    """
    about = _subject(endpoint)
    if endpoint.order != "record" or about is None:
        return _in_any_order
    return _record_order(endpoint, kind, variables, shared ^ {about})


def shared_subjects(endpoints: Iterable[Endpoint]) -> frozenset[Subject]:
    """Return the subjects whose records any caller may reach, by whichever of *endpoints*.

    Of the others the same key of two partners is two records, because every ``where`` binds them to the caller.
    """
    found = ((_subject(endpoint), endpoint.model or endpoint.call) for endpoint in endpoints)
    return frozenset(
        about for about, mapping in found if about and mapping is not None and not template_names(mapping.where)
    )


def _subject(endpoint: Endpoint) -> Subject | None:
    if endpoint.model is not None:
        mapping = endpoint.model
        source = next((field.source for field in mapping.fields if field.public == mapping.key), ("id",))
        return "record", endpoint.upstream, mapping.model, ".".join(source)
    if endpoint.call is not None:
        return "record", endpoint.upstream, endpoint.call.model, endpoint.call.key
    return None


def _record_order(endpoint: Endpoint, kind: str, variables: tuple[str, ...], shared: frozenset[Subject]) -> Order:
    about = _subject(endpoint)
    if about is None:
        return partial(_of_path, ("path", endpoint.name)) if variables else _in_any_order
    is_shared = about in shared
    if endpoint.model is not None and kind == "create":
        key = endpoint.model.key
        return _in_any_order if key == "id" else partial(_of_new_record, about, key, is_shared)
    if "id" in variables:
        return partial(_of_record, about, variables.index("id"), is_shared)
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


def _of_path(about: Subject, exchange: Exchange) -> str:
    values = [_decoded(value) for value in exchange.raw_values]
    return _digest(*about, exchange.principal.partner.name, *values)


def _of_record(about: Subject, index: int, is_shared: bool, exchange: Exchange) -> str:
    return _record(about, _decoded(exchange.raw_values[index]), is_shared, exchange)


def _of_new_record(about: Subject, key: str, is_shared: bool, exchange: Exchange) -> str | None:
    value = exchange.document.get(key)
    if value is None:
        return None
    return _record(about, value if isinstance(value, str) else orjson.dumps(value).decode(), is_shared, exchange)


def _record(about: Subject, value: str, is_shared: bool, exchange: Exchange) -> str:
    if value.isdigit():
        value = value.lstrip("0")
    return _digest(*about, value, None if is_shared else exchange.principal.partner.name)


def _decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode()


def _digest(*parts: Json) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
