"""Reads what a request brings, and checks it against the schemas of its row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from flask import request

from entrepot.catalog.schemas import compile_schema, mistakes_of
from entrepot.chassis.errors import Mistake
from entrepot.console.rows import Row
from entrepot.errors import InvalidBody, MalformedJson, UnknownParameter, UnsupportedMediaType

PAGE = frozenset({"offset", "limit"})
MAX_SHOWN_CHARS = 80
# Above, a float does not tell neighbouring integers apart.
MAX_INTEGER = 2**53
# No body needs more than a few. orjson takes 1024, Python some 400, and what looks for mistakes 255.
MAX_LEVELS = 200


class Reading:
    """Reads requests that *row* answers. Made once a row."""

    def __init__(self, row: Row) -> None:
        self._allowed = {*row.query, *(PAGE if row.pages else ())}
        self._parameters = {name: compile_schema(dict(schema)) for name, schema in row.query.items()}
        self._body = None if row.body is None else compile_schema(dict(row.body))
        self._properties: Mapping[str, Any] = {} if row.body is None else row.body["properties"]

    def query(self) -> dict[str, str]:
        """Return the parameters of the present request; those of pages are read elsewhere. Raises UnknownParameter."""
        found: dict[str, str] = {}
        for name, values in request.args.lists():
            if name not in self._allowed:
                raise _wrong_parameter(name, ["is not known here"])
            if len(values) > 1:
                raise _wrong_parameter(name, ["stands more than once"])
            if name in PAGE and not values[0]:
                raise _wrong_parameter(name, ["is empty"])
            if name in self._parameters:
                mistakes = mistakes_of(self._parameters[name], values[0])
                if mistakes:
                    raise _wrong_parameter(name, [mistake.message for mistake in mistakes])
                found[name] = values[0]
        return found

    def body(self) -> Mapping[str, Any]:
        """Return the body of the present request, empty where the row takes none.

        Raises UnsupportedMediaType, MalformedJson, and InvalidBody with every mistake.
        """
        if self._body is None:
            return {}
        if request.mimetype != "application/json":
            raise UnsupportedMediaType("the body must be application/json")
        document = _parsed(request.get_data())
        mistakes = [self._told(mistake) for mistake in mistakes_of(self._body, document)]
        if mistakes:
            count = len(mistakes)
            raise InvalidBody(f"the body has {count} mistake{'s' * (count != 1)}", errors=mistakes)
        return document  # type: ignore[no-any-return]  # the schema says that it is an object

    def _told(self, mistake: Mistake) -> Mistake:
        """Return *mistake* without the value that it quotes, where that may be a secret."""
        path = mistake.path or ""
        if not path:
            return Mistake(f"must be an object of {', '.join(self._properties)}", "")
        if self._properties.get(path[1:], {}).get("writeOnly") and mistake.message != "is required":
            return Mistake("cannot be this: see the description of the API", path)
        return Mistake(mistake.message, path[: 2 * MAX_SHOWN_CHARS])


def _wrong_parameter(name: str, messages: Iterable[str]) -> UnknownParameter:
    shown = name if len(name) <= MAX_SHOWN_CHARS else f"{name[:MAX_SHOWN_CHARS]}…"
    mistakes = [Mistake(message, shown) for message in messages]
    return UnknownParameter(f"the parameter {shown} cannot be taken", errors=mistakes)


def _parsed(body: bytes) -> Any:
    try:
        return _with_integers(orjson.loads(body))
    except orjson.JSONDecodeError as exc:
        raise MalformedJson(f"the body is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}") from exc


def _with_integers(document: Any, levels: int = MAX_LEVELS) -> Any:
    """Return *document* with 5 for 5.0: to JSON Schema (draft 2020-12, 4.2.3), and so to its readers, they are one.

    Raises MalformedJson when it has more than *levels* of lists and objects in one another.
    """
    if isinstance(document, dict | list) and not levels:
        raise MalformedJson(f"the body is nested too deeply: {MAX_LEVELS} levels at most")
    if isinstance(document, dict):
        return {name: _with_integers(value, levels - 1) for name, value in document.items()}
    if isinstance(document, list):
        return [_with_integers(value, levels - 1) for value in document]
    if isinstance(document, float) and document.is_integer() and abs(document) <= MAX_INTEGER:
        return int(document)
    return document
