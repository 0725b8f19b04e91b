"""What ``fields_get`` of an Odoo says of its models."""

from __future__ import annotations

from collections.abc import Mapping

from entrepot.connectors.base import Json

FieldTypes = Mapping[str, Mapping[str, Json]]
"""Field → ``{type, required, readonly, relation?, selection?}``."""
ModelTypes = Mapping[str, FieldTypes]
"""Model → its fields."""
Types = Mapping[str, ModelTypes]
"""Upstream → its models: two Odoos may differ."""

_KEPT = ("type", "required", "readonly", "relation", "selection")


def reduced(answer: Mapping[str, Mapping[str, Json]]) -> FieldTypes:
    """Return of the answer of ``fields_get`` what the catalog needs."""
    return {
        field: {key: spec[key] for key in _KEPT if spec.get(key) not in (None, False)}
        for field, spec in answer.items()
        if isinstance(spec.get("type"), str)
    }


def comodel(models: ModelTypes, model: str, field: str) -> str | None:
    """Return the model that *field* of *model* relates to, or None when that is not known."""
    relation = models.get(model, {}).get(field, {}).get("relation")
    return relation if isinstance(relation, str) and relation else None


def selection(spec: Mapping[str, Json]) -> tuple[str, ...] | None:
    """Return the values of a selection; None when Odoo makes them up as it goes."""
    pairs = spec.get("selection")
    if not isinstance(pairs, list) or not pairs:
        return None
    return tuple(str(pair[0]) for pair in pairs if isinstance(pair, list | tuple) and pair)
