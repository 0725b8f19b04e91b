"""The JSON Schema that the body of a relay must fulfil: read from its file, checked, and kept in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from entrepot.catalog.keys import Spot, describe
from entrepot.catalog.schemas import compile_schema
from entrepot.catalog.tree import Node, plain
from entrepot.connectors.base import Json

MAX_SCHEMA_BYTES = 1024 * 1024
MAX_SCHEMA_DEPTH = 64
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = frozenset({"$ref", "$dynamicRef"})


def schema(node: Node, spot: Spot) -> Any:
    """Return the schema that *node* names (a file beside the catalog's) or is. A parser of keys."""
    if isinstance(node.value, dict):
        found: Json = plain(node)
        source = "the schema"
    elif isinstance(node.value, str):
        source = node.value
        try:
            found = _load(Path(node.file).parent / node.value)
        except ValueError as exc:
            return spot.wrong(node, f"{node.value}: {exc}")
    else:
        return spot.wrong(node, f"must be the file of a JSON Schema, or the schema itself; it is {describe(node)}")
    complaint = complaint_about(found)
    return spot.wrong(node, f"{source} {complaint}") if complaint else found


def _load(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SCHEMA_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"the schema cannot be read: {exc.strerror}") from exc
    if len(content) > MAX_SCHEMA_BYTES:
        raise ValueError(f"the schema is larger than {MAX_SCHEMA_BYTES // 2**20} MiB")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"the schema is not JSON: {exc}") from exc


def complaint_about(found: Json) -> str:
    """Return what is wrong with *found* as a schema of the gateway, or an empty text."""
    if not isinstance(found, dict):
        return "must be a mapping"
    if _depth(found) > MAX_SCHEMA_DEPTH:
        return f"is nested more than {MAX_SCHEMA_DEPTH} deep"
    if found.get("$schema", DIALECT).rstrip("#") != DIALECT if isinstance(found.get("$schema", ""), str) else True:
        return f"must be of JSON Schema 2020-12: $schema is {DIALECT}"
    for reference in _references(found):
        if not isinstance(reference, str) or not reference.startswith("#"):
            return f"refers to {reference}: only references into itself (#/…) are followed"
    try:
        jsonschema_rs.meta.validate(found)
        compile_schema(found)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as exc:
        return f"is no valid JSON Schema 2020-12: {str(exc).splitlines()[0]}"
    return ""


def _references(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name in _REFERENCES:
                yield item
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _depth(value: Json) -> int:
    deepest, level = 0, [value]
    while level and deepest <= MAX_SCHEMA_DEPTH:
        deepest += 1
        level = [child for item in level for child in _children(item)]
    return deepest


def _children(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
