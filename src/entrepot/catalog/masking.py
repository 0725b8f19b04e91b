"""What nobody is shown of a transaction: the values of fields that the catalog marks as private."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.plans import plan_from
from entrepot.connectors.base import Field, ModelMapping
from entrepot.ledger.entries import PlanText

MASK = "***"
# A shorter value, such as 1 or "no", would stand in any text by chance, and masking it would tell what it is.
SHORTEST = 3


@dataclass(frozen=True, slots=True)
class Masking:
    """Hides private values: by their place in *documents*, and in texts wherever one of *values* stands.

    *hides_documents*: nobody knows any more which fields are private. *hides_texts*: nobody knows their values.
    """

    fields: tuple[Field, ...] = ()
    values: tuple[str, ...] = ()
    hides_documents: bool = False
    hides_texts: bool = False

    def document(self, document: Any) -> Any:
        """Return *document*, a record by public field names or a list of them, with each private value replaced."""
        return MASK if self.hides_documents else _masked(document, self.fields)

    def text(self, text: str) -> str:
        """Return *text* with every private value in it replaced, also as it stands in a URL."""
        if self.hides_texts:
            return MASK
        for value in self.values:
            text = text.replace(value, MASK)
        return text

    def texts(self, document: Any) -> Any:
        """Return *document*, whose strings are sentences, with every private value in them replaced."""
        if isinstance(document, dict):
            return {name: self.texts(value) for name, value in document.items()}
        if isinstance(document, list):
            return [self.texts(each) for each in document]
        return self.text(document) if isinstance(document, str) else document


def masking(plan: PlanText, today: Endpoint | None, body: bytes | None, variables: Mapping[str, Any]) -> Masking:
    """Return what hides the fields that *plan*, or the endpoint as it is *today*, calls private.

    *body* is what was sent, None when it was dropped; *variables* are the values of its path.
    """
    try:
        accepted = plan_from(plan).model
    except ValueError:
        return Masking(hides_documents=True, hides_texts=True)
    mappings = [model for model in (accepted, today.model if today else None) if model is not None]
    fields = tuple(field for mapping in mappings for field in mapping.fields)
    if not any(map(_has_private, fields)):
        return Masking()
    if body is None:
        return Masking(fields, hides_texts=True)
    found = set(_private_texts(_parsed(body), fields))
    if any(_has_private_key(mapping) for mapping in mappings):
        found |= {str(value) for value in variables.values()}
    written = {form for value in found for form in (value, quote(value), quote(value, safe=""))}
    return Masking(fields, tuple(sorted((each for each in written if len(each) >= SHORTEST), key=len, reverse=True)))


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _has_private(field: Field) -> bool:
    return field.private or any(map(_has_private, field.fields))


def _has_private_key(mapping: ModelMapping) -> bool:
    return any(field.private for field in mapping.fields if field.public == mapping.key)


def _masked(document: Any, fields: Sequence[Field]) -> Any:
    if isinstance(document, list):
        return [_masked(each, fields) for each in document]
    if not isinstance(document, dict):
        return document
    return {name: _masked_field(value, _named(fields, name)) for name, value in document.items()}


def _masked_field(value: Any, fields: Sequence[Field]) -> Any:
    if any(field.private for field in fields):
        return MASK
    return _masked(value, [line for field in fields for line in field.fields])


def _private_texts(document: Any, fields: Sequence[Field]) -> Iterator[str]:
    if isinstance(document, list):
        for each in document:
            yield from _private_texts(each, fields)
    elif isinstance(document, dict):
        for name, value in document.items():
            chosen = _named(fields, name)
            if any(field.private for field in chosen):
                yield from _texts(value)
            else:
                yield from _private_texts(value, [line for field in chosen for line in field.fields])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif not isinstance(value, bool) and value is not None:
        yield str(value)


def _named(fields: Sequence[Field], name: str) -> list[Field]:
    return [field for field in fields if field.public == name]
