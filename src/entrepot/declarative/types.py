"""Ask the live upstreams for the field types that a catalog needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.fields import needed_models, used_types
from entrepot.catalog.model_types import FieldTypes, Types, reduced
from entrepot.connectors.base import Upstream
from entrepot.errors import UpstreamError

AskTypes = Callable[[Upstream, str], FieldTypes]
"""Return ``fields_get`` of a model, given upstream and model; raises UpstreamError."""


@dataclass(frozen=True, slots=True)
class KnownTypes:
    """Field types; *warnings* say which upstreams did not answer, and what stands for their answer."""

    types: Types
    warnings: tuple[str, ...] = ()


def known_types(catalog: Catalog, ask: AskTypes | None, former: Types) -> KnownTypes:
    """Return the field types that *catalog* needs: what *ask* says now, else those of the *former* revision.

    Without *ask*, or when an upstream does not answer, the former ones stand; what then is still not known is for
    `resolve` to complain of. A model that an upstream does not answer for is asked for once.
    """
    found: dict[str, dict[str, FieldTypes]] = {}
    reasons: dict[str, str] = {}
    failed: set[tuple[str, str]] = set()
    while needed := needed_models(catalog, found) - failed:
        for upstream, model in sorted(needed):
            types = None if ask is None else _asked(ask, catalog.upstreams[upstream], model, reasons)
            if types is None:
                types = former.get(upstream, {}).get(model)
            if types is None:
                failed.add((upstream, model))
            else:
                found.setdefault(upstream, {})[model] = types
    warnings = (
        f"upstreams.{name}: {reason}; field types of the former revision stand, if any"
        for name, reason in reasons.items()
    )
    return KnownTypes(used_types(catalog, found), tuple(warnings))


def _asked(ask: AskTypes, upstream: Upstream, model: str, reasons: dict[str, str]) -> FieldTypes | None:
    if upstream.name in reasons:
        return None
    try:
        return reduced(ask(upstream, model))
    except UpstreamError as exc:
        # A model that does not exist is no reason to give up on the upstream; one that is away is, or each would wait.
        if exc.retryable:
            reasons[upstream.name] = str(exc)
        else:
            reasons.setdefault(f"{upstream.name} ({model})", str(exc))
        return None
