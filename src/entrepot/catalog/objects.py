"""Objects of a catalog as they were read: each with its place, what it says, and the value that follows from it.

A value is built even where keys have mistakes, with their defaults, so that the rules about other keys can still be
checked; it is never used once any mistake was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.endpoint_tables import ENDPOINT, KINDS
from entrepot.catalog.keys import Bad, Spot, Table, Values, nearest, read
from entrepot.catalog.tables import CLIENT, HTTP_CONCURRENCY, ODOO_CONCURRENCY, ODOO_CONTEXT, PARTNER, PLAN, UPSTREAM
from entrepot.catalog.tree import Node
from entrepot.connectors.base import CallMapping, ModelMapping, Probe, RelayMapping, Upstream
from entrepot.identity.partners import Client, Partner, Plan

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """One object of a document: its *value*, and *values*, which know what of it is right."""

    name: str
    node: Node
    spot: Spot
    values: Values
    value: T

    def wrong(self, key: str, message: str) -> None:
        """Report that what stands at *key* is not right, or that the object is not when it lacks the key."""
        node = self.node.entries.get(key)
        if node is None:
            self.spot.wrong(self.node, message)
        else:
            self.spot.at(key).wrong(node, message)

    def are_right(self, *keys: str) -> bool:
        """Return whether none of *keys* has a mistake."""
        return self.values.are_right(*keys)


Build = Callable[[str, Values, str], T]


def _parsed(table: Table, node: Node, spot: Spot, kind: str, build: Build[T]) -> Parsed[T] | Bad:
    values = read(table, node, spot, kind)
    if isinstance(values, Bad):
        return values
    name = spot.steps[-1]
    return Parsed(name, node, spot, values, build(name, values, kind))


def upstream(node: Node, spot: Spot) -> Parsed[Upstream] | Bad:
    """Return the upstream that *node* defines. A parser of keys."""
    written = node.at(["kind"]).value
    kind = written if isinstance(written, str) and written in {"odoo", "http"} else ""
    return _parsed(UPSTREAM, node, spot, kind, _build_upstream)


def _build_upstream(name: str, found: Values, kind: str) -> Upstream:
    is_odoo = kind == "odoo"
    return Upstream(
        name=name,
        kind="odoo" if is_odoo else "http",
        url=found["url"] or "",
        timeout_s=found["timeout"],
        connect_timeout_s=found["connect_timeout"],
        concurrency=found["concurrency"] or (ODOO_CONCURRENCY if is_odoo else HTTP_CONCURRENCY),
        waiting=found["waiting"],
        wait_s=found["wait"],
        breaker=found["breaker"],
        ca=found["ca"],
        verify=found["verify"],
        probe=found["probe"] or (Probe() if is_odoo else None),
        database=found["database"] or "",
        login=found["login"] or "",
        secret=found["secret"] or "",
        protocol=found["protocol"],
        context=ODOO_CONTEXT | found["context"] if is_odoo else {},
        auth=found["auth"],
        headers=tuple(found["headers"].items()),
        settle_s=found["settle"],
    )


def endpoint(node: Node, spot: Spot) -> Parsed[Endpoint] | Bad:
    """Return the endpoint that *node* defines. A parser of keys."""
    return _parsed(ENDPOINT, node, spot, _endpoint_kind(node, spot), _build_endpoint)


def _endpoint_kind(node: Node, spot: Spot) -> str:
    present = [kind for kind in KINDS if kind in node.entries]
    if len(present) == 1:
        return present[0]
    if present:
        spot.at(present[1]).wrong(node.entries[present[1]], f"an endpoint is one of {' and '.join(present)}, not both")
    elif isinstance(node.value, dict) and not any(nearest(name, KINDS) for name in node.entries):
        spot.wrong(node, "an endpoint needs `model`, `call` or `relay`")
    return ""


def _build_endpoint(name: str, found: Values, kind: str) -> Endpoint:
    read_scopes, write_scopes = found["scopes"]
    paths = (found["path"], *found["aliases"]) if found["path"] else tuple(found["aliases"])
    return Endpoint(
        name=name,
        paths=paths,
        upstream=found["upstream"] or "",
        read_scopes=read_scopes,
        write_scopes=write_scopes,
        rate=found["rate"],
        cache=found["cache"],
        write=found["write"],
        patience_s=found["patience"],
        order=found["order"],
        idempotency=found["idempotency"],
        retry=found["retry"],
        max_body_bytes=found["max_body"],
        context=found["context"],
        summary=found["summary"],
        description=found["description"],
        model=_build_model(found) if kind == "model" else None,
        call=_build_call(found) if kind == "call" else None,
        relay=_build_relay(found) if kind == "relay" else None,
    )


def _build_model(found: Values) -> ModelMapping:
    page_default, page_max = found["page"]
    return ModelMapping(
        model=found["model"] or "",
        fields=tuple(found["fields"].values()),
        operations=found["operations"],
        where=found["where"],
        set=found["set"],
        key=found["key"],
        search=found["search"],
        sort=found["sort"],
        page_default=page_default,
        page_max=page_max,
    )


def _build_call(found: Values) -> CallMapping:
    model, method = found["call"] or ("", "")
    return CallMapping(
        model=model,
        method=method,
        http_method=found["method"],
        where=found["where"],
        key=found["key"],
        arguments=tuple(found["arguments"].values()),
        result=found["result"],
        guard=found["guard"],
    )


def _build_relay(found: Values) -> RelayMapping:
    add, drop = found["headers"]
    return RelayMapping(
        path=found["relay"] or "",
        methods=found["methods"],
        add_headers=add,
        drop_headers=drop,
        schema=found["body"],
    )


def partner(node: Node, spot: Spot) -> Parsed[Partner] | Bad:
    """Return the partner that *node* defines, without its clients. A parser of keys."""
    return _parsed(PARTNER, node, spot, "", _build_partner)


def _build_partner(name: str, found: Values, _kind: str) -> Partner:
    return Partner(
        name=name, title=found["name"] or "", values=found["values"], max_queued=found["max_queued"],
        max_queued_bytes=found["max_queued_bytes"],
    )  # fmt: skip


def clients(of: Parsed[Partner]) -> Iterator[Parsed[Client]]:
    """Yield the clients of the partner *of*."""
    for name, node in of.values["clients"].items():
        spot = of.spot.at("clients").at(name)
        found = _parsed(CLIENT, node, spot, of.name, _build_client)
        if not isinstance(found, Bad):
            yield found


def _build_client(name: str, found: Values, partner_name: str) -> Client:
    scopes: Sequence[Any] = found["scopes"] or ()
    return Client(
        name=name, partner=partner_name, scopes=frozenset(scopes), rate=found["rate"], networks=found["networks"],
        quota=found["quota"], plan=found["plan"], api_keys=found["api_keys"],
    )  # fmt: skip


def plan(node: Node, spot: Spot) -> Parsed[Plan] | Bad:
    """Return the plan that *node* defines. A parser of keys."""
    return _parsed(PLAN, node, spot, "", lambda name, found, _: Plan(name, found["rate"], found["quota"]))
