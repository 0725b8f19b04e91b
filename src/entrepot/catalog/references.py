"""Rules about the catalog as a whole: references, paths that clash, templates that some partner cannot fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.keys import did_you_mean
from entrepot.catalog.objects import Parsed
from entrepot.catalog.paths import routes, shape, value_names
from entrepot.catalog.templates import names_in
from entrepot.catalog.values import written_s
from entrepot.connectors.base import Json, Upstream
from entrepot.identity.partners import Client, Partner, Plan


@dataclass(frozen=True, slots=True)
class Objects:
    """All objects of a document that could be read."""

    upstreams: Mapping[str, Parsed[Upstream]]
    endpoints: Mapping[str, Parsed[Endpoint]]
    partners: Mapping[str, Parsed[Partner]]
    clients: Sequence[Parsed[Client]]
    plans: Mapping[str, Parsed[Plan]]


def check_references(objects: Objects, upstream_names: Iterable[str]) -> None:
    """Report every reference that leads nowhere; *upstream_names* are all that are written, readable or not."""
    names = tuple(upstream_names)
    for endpoint in objects.endpoints.values():
        if endpoint.are_right("upstream"):
            _check_upstream(endpoint, objects.upstreams, names)
            _check_patience(endpoint, objects.upstreams)
        _check_templates(endpoint, objects)
    _check_clashes(objects.endpoints.values())
    _check_client_names(objects.clients)
    _check_plans(objects)


def _check_upstream(of: Parsed[Endpoint], upstreams: Mapping[str, Parsed[Upstream]], names: Sequence[str]) -> None:
    name = of.value.upstream
    if name not in names:
        of.wrong("upstream", f"there is no upstream `{name}`{did_you_mean(name, names)}")
        return
    upstream = upstreams.get(name)
    if upstream is None or not upstream.are_right("kind"):
        return
    kind = upstream.value.kind
    if of.value.relay is not None and kind != "http":
        of.wrong("upstream", f"a relay goes to an HTTP upstream; `{name}` is Odoo: use `model` or `call`")
    if (of.value.model is not None or of.value.call is not None) and kind != "odoo":
        of.wrong("upstream", f"models and calls go to an Odoo upstream; `{name}` is HTTP: use `relay`")


def _check_patience(of: Parsed[Endpoint], upstreams: Mapping[str, Parsed[Upstream]]) -> None:
    upstream = upstreams.get(of.value.upstream)
    if of.value.write != "auto" or upstream is None or not upstream.are_right("timeout"):
        return
    if of.are_right("write", "patience") and of.value.patience_s >= upstream.value.timeout_s:
        message = (
            f"`auto` waits {written_s(of.value.patience_s)}, and `{upstream.name}` is given up after"
            f" {written_s(upstream.value.timeout_s)}: `patience` must be shorter than its `timeout`"
        )
        of.wrong("patience", message)


def _check_clashes(endpoints: Iterable[Parsed[Endpoint]]) -> None:
    taken: dict[str, list[_Route]] = {}
    for endpoint in endpoints:
        if not endpoint.are_right("path", "aliases", "operations", "method", "methods"):
            continue
        reported = set()
        for path, methods in routes(endpoint.value):
            others = taken.setdefault(shape(path), [])
            other = next((other for other in others if other.clashes_with(path, methods)), None)
            if other is None:
                others.append(_Route(endpoint, path, methods))
            elif (index := _index(endpoint.value, path)) not in reported:
                reported.add(index)
                _report_clash(_Route(endpoint, path, methods), index, other)


@dataclass(frozen=True, slots=True)
class _Route:
    """A path of an endpoint, and the methods there."""

    endpoint: Parsed[Endpoint]
    path: str
    methods: frozenset[str]

    def clashes_with(self, path: str, methods: frozenset[str]) -> bool:
        """Return whether a route of the same shape cannot stand beside this one."""
        return bool(methods and self.methods and (methods & self.methods or path != self.path))


def _index(endpoint: Endpoint, path: str) -> int:
    """Return which of its written paths *path* comes from; the later of two that are the same."""
    return max(index for index, own in enumerate(endpoint.paths) if path in {own, f"{own}/{{id}}"})


def _report_clash(route: _Route, index: int, other: _Route) -> None:
    of = route.endpoint
    where = (
        f"`{other.endpoint.name}` ({other.endpoint.node.place})" if other.endpoint is not of else "this endpoint itself"
    )
    methods = route.methods & other.methods
    message = f"{route.path} is the path {other.path} of {where}: give their path values the same names"
    if methods:
        message = f"{', '.join(sorted(methods))} {route.path} is taken already: {where} has {other.path}"
    if index == 0:
        of.wrong("path", message)
    else:
        of.spot.at("aliases").at(index - 1).wrong(of.node.at(["aliases"]).items[index - 1], message)


def _check_templates(of: Parsed[Endpoint], objects: Objects) -> None:
    for key, value in _templated(of.value):
        if not of.are_right(key):
            continue
        for name in dict.fromkeys(names_in(value)):
            message = _template_complaint(of, name, objects)
            if message:
                of.wrong(key, f"{{{name}}}: {message}")


def _templated(endpoint: Endpoint) -> Iterator[tuple[str, Json]]:
    if endpoint.model is not None:
        yield "where", endpoint.model.where
        yield "set", endpoint.model.set
    elif endpoint.call is not None:
        yield "where", endpoint.call.where
        yield "guard", endpoint.call.guard
        yield "arguments", [argument.template for argument in endpoint.call.arguments]
    elif endpoint.relay is not None:
        yield "relay", endpoint.relay.path


def _template_complaint(of: Parsed[Endpoint], name: str, objects: Objects) -> str:
    if name == "client":
        return ""
    if name.startswith("partner."):
        return _partner_complaint(of, name.removeprefix("partner."), objects)
    if not of.are_right("path") or not of.value.paths:
        return ""
    names = value_names(of.value.paths[0])
    if name in names:
        return ""
    return f"the path has no value `{name}`{did_you_mean(name, names)}"


def _partner_complaint(of: Parsed[Endpoint], key: str, objects: Objects) -> str:
    if not all(partner.are_right("values") for partner in objects.partners.values()):
        return ""
    known = {name for partner in objects.partners.values() for name in partner.value.values}
    if objects.partners and key not in known:
        return f"no partner has a value `{key}`{did_you_mean(key, known)}"
    callers = _callers(of, objects.clients) if of.are_right("scopes") else frozenset()
    lacking = [
        name for name, partner in objects.partners.items() if name in callers and key not in partner.value.values
    ]
    return f"the partners {', '.join(lacking)} may call this and have no value `{key}`" if lacking else ""


def _callers(of: Parsed[Endpoint], clients: Sequence[Parsed[Client]]) -> frozenset[str]:
    scopes = {*of.value.read_scopes, *of.value.write_scopes}
    return frozenset(client.value.partner for client in clients if scopes & client.value.scopes)


def _check_client_names(clients: Sequence[Parsed[Client]]) -> None:
    first: dict[str, Parsed[Client]] = {}
    for client in clients:
        other = first.setdefault(client.name, client)
        if other is not client:
            message = (
                f"a client's name is unique in the catalog: {other.value.partner} has it too, at {other.node.place}"
            )
            client.spot.wrong(client.node, message)


def _check_plans(objects: Objects) -> None:
    for client in objects.clients:
        name = client.value.plan
        if client.are_right("plan") and name is not None and name not in objects.plans:
            client.wrong("plan", f"there is no plan `{name}`{did_you_mean(name, objects.plans)}")
