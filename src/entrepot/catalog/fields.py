"""Field types: what the live Odoo says of its models is put into the fields of a catalog, and checked against them.

``type:`` overrides what Odoo says, and stands for it where Odoo cannot be asked: enough for a plain field. A path to a
natural key and the lines of a one2many need the other model, whose name only Odoo knows: there it is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from entrepot.catalog.check import Draft
from entrepot.catalog.definitions import Catalog, Endpoint
from entrepot.catalog.endpoint_tables import FIELD_TYPES
from entrepot.catalog.field_rules import check_call, check_mapping
from entrepot.catalog.keys import did_you_mean
from entrepot.catalog.model_types import FieldTypes, ModelTypes, Types, comodel, selection
from entrepot.catalog.schemas import MANY_TYPES
from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Field, ModelMapping
from entrepot.errors import CatalogError

# No natural keys: relations are not written by them, and a path to them is for reading.
_NO_KEYS = frozenset({"many2one", "binary", "reference", *MANY_TYPES})


@dataclass(frozen=True, slots=True)
class Resolved:
    """A whole catalog with its field types; *warnings* are sentences about what may be meant otherwise."""

    catalog: Catalog
    warnings: tuple[str, ...]


def needed_models(catalog: Catalog, known: Types) -> frozenset[tuple[str, str]]:
    """Return ``(upstream, model)`` of every model whose types *catalog* needs and *known* lacks.

    The models behind relations show only once the ones before them are known: ask, add, and call again until empty.
    """
    needed = (
        (endpoint.upstream, model)
        for endpoint in catalog.endpoints.values()
        for model in _models_of(endpoint, known.get(endpoint.upstream, {}))
    )
    return frozenset(pair for pair in needed if pair[1] not in known.get(pair[0], {}))


def _models_of(endpoint: Endpoint, models: ModelTypes) -> Iterator[str]:
    if endpoint.call is not None and (endpoint.call.where or endpoint.call.guard or endpoint.call.key != "id"):
        yield endpoint.call.model
    if endpoint.model is not None:
        yield endpoint.model.model
        for field in endpoint.model.fields:
            yield from _models_behind(field, endpoint.model.model, models)


def _models_behind(field: Field, model: str, models: ModelTypes) -> Iterator[str]:
    for step in field.source[:-1] if not field.fields else field.source:
        found = comodel(models, model, step)
        if found is None:
            return
        yield found
        model = found
    for line in field.fields:
        yield from _models_behind(line, model, models)


def resolve(draft: Draft, types: Types) -> Resolved:
    """Return the catalog of *draft* with the type of every field, by *types* (upstream → model → ``fields_get``).

    Raises CatalogError with every field that does not fit, or whose type is not known.
    """
    mistakes: list[Mistake] = []
    warnings: list[str] = []
    endpoints = {
        name: _Resolution(draft, endpoint, types.get(endpoint.upstream, {}), mistakes, warnings).endpoint()
        for name, endpoint in draft.catalog.endpoints.items()
    }
    if mistakes:
        raise CatalogError(f"{len(mistakes)} fields do not fit the upstream", errors=mistakes)
    return Resolved(replace(draft.catalog, endpoints=endpoints), tuple(warnings))


@dataclass(slots=True)
class _Resolution:
    """The work on one endpoint."""

    draft: Draft
    of: Endpoint
    models: ModelTypes
    mistakes: list[Mistake]
    warnings: list[str]

    def endpoint(self) -> Endpoint:
        if self.of.call is not None:
            check_call(self.of.call, self.models, self.wrong)
        if self.of.model is None:
            return self.of
        before = len(self.mistakes)
        mapping = self._mapping(self.of.model)
        if len(self.mistakes) == before:
            self.warnings += (
                f"endpoints.{self.of.name}: {warning}" for warning in check_mapping(mapping, self.models, self.wrong)
            )
        return replace(self.of, model=mapping)

    def wrong(self, steps: tuple[str, ...], message: str) -> None:
        self.mistakes.append(self.draft.mistake(("endpoints", self.of.name, *steps), message))

    def _mapping(self, mapping: ModelMapping) -> ModelMapping:
        found = (self._field(field, mapping.model, ("fields", field.public)) for field in mapping.fields)
        return replace(mapping, fields=tuple(found))

    def _field(self, field: Field, model: str, steps: tuple[str, ...]) -> Field:
        def wrong(message: str) -> Field:
            self.wrong(steps, message)
            return field

        known = self.models.get(model)
        if known is None:
            return self._without_odoo(field, model, wrong)
        first = known.get(field.source[0])
        if first is None:
            return wrong(f"{model} has no field `{field.source[0]}`{did_you_mean(field.source[0], known)}")
        last, complaint = self._last_step(field, model)
        if last is None:
            return wrong(complaint)
        kind = field.type or str(last["type"])
        if field.fields:
            return self._lines(field, first, steps, wrong)
        if kind not in FIELD_TYPES:
            return wrong(f"{'.'.join(field.source)} is {kind}, which cannot be mapped")
        if kind == "one2many" and not field.read_only:
            return wrong(
                f"{field.source[-1]} is a one2many: give the `fields` of its lines, or read_only: true for ids"
            )
        never = field.source[-1] == "id" or (len(field.source) > 1 and kind in _NO_KEYS)
        if never and (field.required or field.has_default):
            return wrong(f"{'.'.join(field.source)} is never written: make it read_only")
        return replace(
            field,
            type=kind,
            relation=_relation(first),
            choices=selection(last) if kind == "selection" else None,
            read_only=field.read_only or never,
        )

    def _without_odoo(self, field: Field, model: str, wrong: Callable[[str], Field]) -> Field:
        name, upstream = ".".join(field.source), self.of.upstream
        if field.fields or len(field.source) > 1:
            return wrong(
                f"only Odoo knows what {name} leads to, and the types of {model} are not known from `{upstream}`"
            )
        if not field.type:
            return wrong(
                f"the type of {name} is not known: `{upstream}` did not say it; give `type`, or apply while it answers"
            )
        return field

    def _last_step(self, field: Field, model: str) -> tuple[Mapping[str, object] | None, str]:
        """Return what Odoo says of the last step of the path, or None and what is wrong with the path."""
        for step in field.source[:-1]:
            spec = self.models[model].get(step)
            if spec is None:
                return None, f"{model} has no field `{step}`{did_you_mean(step, self.models[model])}"
            if spec["type"] != "many2one":
                return None, f"{model}.{step} is {spec['type']}: a path leads through many2one fields only"
            model = str(spec["relation"])
            if model not in self.models:
                return None, f"the types of {model} are not known from `{self.of.upstream}`: apply while it answers"
        last = self.models[model].get(field.source[-1])
        if last is None:
            return (
                None,
                f"{model} has no field `{field.source[-1]}`{did_you_mean(field.source[-1], self.models[model])}",
            )
        return last, ""

    def _lines(
        self, field: Field, first: Mapping[str, object], steps: tuple[str, ...], wrong: Callable[[str], Field]
    ) -> Field:
        if first["type"] != "one2many":
            return wrong(f"{field.source[0]} is {first['type']}: only a one2many has lines")
        model = str(first["relation"])
        lines = tuple(self._field(line, model, (*steps, "fields", line.public)) for line in field.fields)
        return replace(field, type="one2many", relation=model, fields=lines)


def _relation(first: Mapping[str, object]) -> str | None:
    relation = first.get("relation")
    return str(relation) if relation else None


def used_types(catalog: Catalog, known: Types) -> dict[str, dict[str, FieldTypes]]:
    """Return the part of *known* that *catalog* is about; what a revision keeps for a later apply without Odoo."""
    found: dict[str, dict[str, FieldTypes]] = {}
    for endpoint in catalog.endpoints.values():
        models = known.get(endpoint.upstream, {})
        for model in _models_of(endpoint, models):
            if model in models:
                found.setdefault(endpoint.upstream, {})[model] = models[model]
    return found
