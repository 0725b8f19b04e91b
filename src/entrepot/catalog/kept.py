"""Whose kept answers a write ends: those of all endpoints that are about the same records, by whatever way it goes."""

from __future__ import annotations

from entrepot.catalog.definitions import Catalog, Endpoint
from entrepot.catalog.plans import Plan

Subject = tuple[str, str]


def subject(of: Endpoint | Plan) -> Subject:
    """Return what an endpoint is about: a model of an upstream, whoever names it, or a relay of its own."""
    mapping = of.model or of.call
    name = of.name if isinstance(of, Endpoint) else of.endpoint
    return of.upstream, f"relay {name}" if mapping is None else mapping.model


def kept_by_subject(catalog: Catalog) -> dict[Subject, tuple[str, ...]]:
    """Return the names of the endpoints that keep answers, by what they are about."""
    found: dict[Subject, tuple[str, ...]] = {}
    for endpoint in catalog.endpoints.values():
        if endpoint.cache is not None:
            about = subject(endpoint)
            found[about] = (*found.get(about, ()), endpoint.name)
    return found


def counter_of(endpoint: str) -> str:
    """Return the name of the shared counter whose change ends the kept answers of *endpoint* in all processes."""
    return f"cache:{endpoint}"
