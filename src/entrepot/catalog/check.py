"""Check a document of the catalog: every mistake in it at once, and the catalog that it defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entrepot.catalog import endpoint_tables as endpoints
from entrepot.catalog import objects, tables
from entrepot.catalog.definitions import Catalog
from entrepot.catalog.keys import Key, Spot, Table, Values, mapping_of, mistake_at, read
from entrepot.catalog.references import Objects, check_references
from entrepot.catalog.rules import check_endpoint, check_upstream
from entrepot.catalog.tree import Node
from entrepot.catalog.values import name
from entrepot.chassis.errors import Mistake

CATALOG = Table(
    "a catalog",
    (
        Key("upstreams", mapping_of(objects.upstream, "upstreams", name), "the systems behind the gateway", default={}),
        Key("endpoints", mapping_of(objects.endpoint, "endpoints", name), "the public paths", default={}),
        Key("partners", mapping_of(objects.partner, "partners", name), "who may call", default={}),
        Key("plans", mapping_of(objects.plan, "plans", name), "rates and quotas that many clients have", default={}),
    ),
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A catalog that has no mistake but whose fields lack the types that only the live Odoo knows.

    *tree* is the document that it was made of.
    """

    catalog: Catalog
    tree: Node

    def place(self, *steps: str) -> str:
        """Return ``file:line`` of what *steps* lead to, or of the last thing on the way there that exists."""
        return self.tree.at(steps).place

    def mistake(self, steps: tuple[str, ...], message: str) -> Mistake:
        """Return the mistake of what *steps* lead to."""
        return mistake_at(self.place(*steps), steps, message)


def check(tree: Node, mistakes: list[Mistake], *, is_whole: bool = True) -> Draft:
    """Return what *tree* defines; every mistake is added to *mistakes*, and with any of them the draft is of no use.

    Without *is_whole* a part of the document could not be read, so nothing is said of references to it.
    """
    spot = Spot(mistakes)
    found = read(CATALOG, tree, spot)
    if not isinstance(found, Values):
        return Draft(Catalog(), tree)
    clients = [client for partner in found["partners"].values() for client in objects.clients(partner)]
    for upstream in found["upstreams"].values():
        check_upstream(upstream)
    for endpoint in found["endpoints"].values():
        check_endpoint(endpoint)
    everything = Objects(found["upstreams"], found["endpoints"], found["partners"], clients, found["plans"])
    if is_whole and _sections_are_right(tree):
        check_references(everything, tree.at(["upstreams"]).entries if "upstreams" in tree.entries else ())
    return Draft(_catalog(everything), tree)


def _sections_are_right(tree: Node) -> bool:
    return all(isinstance(section.value, dict) for section in tree.entries.values())


def _catalog(found: Objects) -> Catalog:
    return Catalog(
        revision=0,
        upstreams=_values(found.upstreams),
        endpoints=_values(found.endpoints),
        partners=_values(found.partners),
        clients={client.name: client.value for client in found.clients},
        plans=_values(found.plans),
    )


def _values(parsed: Any) -> dict[str, Any]:
    return {key: item.value for key, item in parsed.items()}


def keys() -> tuple[tuple[str, Table], ...]:
    """Return every table of keys with the path of the objects that it is about; the reference pages are made of it."""
    return (
        ("", CATALOG),
        ("upstreams.NAME", tables.UPSTREAM),
        ("upstreams.NAME.breaker", tables.BREAKER),
        ("upstreams.NAME.probe", tables.PROBE),
        ("upstreams.NAME.auth", tables.AUTH),
        ("upstreams.NAME.auth.basic", tables.BASIC),
        ("upstreams.NAME.auth.header", tables.HEADER),
        ("endpoints.NAME", endpoints.ENDPOINT),
        ("endpoints.NAME.scopes", endpoints.SCOPES),
        ("endpoints.NAME.rate", tables.RATE),
        ("endpoints.NAME.cache", tables.CACHE),
        ("endpoints.NAME.retry", tables.RETRY),
        ("endpoints.NAME.fields.PUBLIC", endpoints.FIELD),
        ("endpoints.NAME.fields.PUBLIC.fields.PUBLIC", endpoints.LINE_FIELD),
        ("endpoints.NAME.page", endpoints.PAGE),
        ("endpoints.NAME.arguments.NAME", endpoints.ARGUMENT),
        ("endpoints.NAME.headers", endpoints.RELAY_HEADERS),
        ("endpoints.NAME.body", endpoints.RELAY_BODY),
        ("partners.NAME", tables.PARTNER),
        ("partners.NAME.clients.NAME", tables.CLIENT),
        ("partners.NAME.clients.NAME.rate", tables.RATE),
        ("partners.NAME.clients.NAME.quota", tables.QUOTA),
        ("plans.NAME", tables.PLAN),
    )
