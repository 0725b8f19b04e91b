"""The OpenAPI 3.1 document of the admin API, made of its table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from flask import Response, current_app
from werkzeug.http import HTTP_STATUS_CODES

from entrepot.chassis.web.pagination import DEFAULT_PAGE_SIZE, MAX_OFFSET, MAX_PAGES_AT_ONCE
from entrepot.console.access import COOKIE, CSRF_HEADER
from entrepot.console.rows import Row, Schema

_NAME = re.compile(r"<(\w+)>")
# Any request may meet these: a parameter that is not known, another host's name, a store that is away.
_ALWAYS = (400, 403, 503)
# gunicorn itself answers these, and 400 to what is no HTTP.
_TOO_LARGE = (414, 431)
_MEDIA_TYPE = "application/json"
_PROBLEM = "application/problem+json"
_PAGE = "text/html"

_META: Schema = {
    "type": "object",
    "properties": {"operation_id": {"type": "string", "format": "uuid"}},
    "required": ["operation_id"],
}
_LINK: Schema = {"anyOf": [{"type": "string"}, {"type": "null"}]}
_PAGE_META: Schema = {
    "type": "object",
    "properties": {
        "operation_id": {"type": "string", "format": "uuid"},
        "pagination": {
            "type": "object", "properties": {"next": _LINK, "prev": _LINK}, "required": ["next", "prev"],
        },
    },
    "required": ["operation_id", "pagination"],
}  # fmt: skip
_PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "meta": _META,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"message": {"type": "string"}, "path": {"type": "string"}},
                "required": ["message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "meta", "errors"],
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A session that began with cookie false."},
    "cookie": {
        "type": "apiKey", "in": "cookie", "name": COOKIE,
        "description": f"A session of a browser; by the public name over HTTPS the cookie is __Host-{COOKIE}.",
    },
    "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER, "description": "With a cookie, for each change."},
}  # fmt: skip


def description(table: Iterable[Row], prefix: str) -> Response:
    """Return the document of *table*, whose paths stand below *prefix*."""
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        paths.setdefault(_NAME.sub(r"{\1}", row.path), {})[row.method.lower()] = _operation(row)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Entrepot admin API", "version": version("entrepot")},
        "servers": [{"url": prefix}],
        "paths": paths,
        "components": {"securitySchemes": _SCHEMES, "schemas": {"problem": _PROBLEM_SCHEMA}},
    }
    return current_app.response_class(current_app.json.dumps(document), mimetype=_MEDIA_TYPE)


def _operation(row: Row) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": row.summary,
        "operationId": _operation_id(row),
        "tags": [row.path.split("/")[1]],
        "parameters": [*_path_parameters(row), *_query_parameters(row)],
        "responses": {str(row.status): _answer(row), **{str(status): _refusal(status) for status in refusals(row)}},
        "security": _security(row),
    }
    if row.least is not None:
        operation["description"] = f"Needs the role {row.least}."
    if row.body is not None:
        operation["requestBody"] = {"required": True, "content": {_MEDIA_TYPE: {"schema": row.body}}}
    return operation


def refusals(row: Row) -> list[int]:
    """Return the statuses, from 400 on, that *row* may answer."""
    found = {*_ALWAYS, *_TOO_LARGE, *row.refusals}
    if row.least is not None:
        found.add(401)
    if row.body is not None:
        found |= {413, 415, 422}
    if "<" in row.path:
        found.add(404)
    return sorted(found)


def _operation_id(row: Row) -> str:
    words = re.findall(r"\w+", row.path)
    return "-".join((row.method.lower(), *words))


def _security(row: Row) -> list[Mapping[str, Any]]:
    if row.least is None:
        return []
    cookie: dict[str, Any] = {"cookie": []} if row.method == "GET" else {"cookie": [], "csrf": []}
    return [{"bearer": []}, cookie]


def _path_parameters(row: Row) -> list[Schema]:
    names = _NAME.findall(row.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]


def _query_parameters(row: Row) -> list[Schema]:
    found: dict[str, Schema] = dict(row.query)
    if row.pages:
        most = DEFAULT_PAGE_SIZE * MAX_PAGES_AT_ONCE
        found["offset"] = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}
        found["limit"] = {"type": "integer", "minimum": 1, "maximum": most, "default": DEFAULT_PAGE_SIZE}
    return [{"name": name, "in": "query", "schema": schema} for name, schema in found.items()]


def _answer(row: Row) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTP_STATUS_CODES[row.status]}
    if row.answer is not None:
        answer["content"] = {_MEDIA_TYPE: {"schema": row.answer if row.is_raw else _enveloped(row, row.answer)}}
    return answer


def _enveloped(row: Row, answer: Schema) -> Schema:
    data = {"type": "array", "items": answer} if row.pages else answer
    return {
        "type": "object",
        "properties": {"meta": _PAGE_META if row.pages else _META, "data": data},
        "required": ["meta", "data"],
    }


def _refusal(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if status not in _TOO_LARGE:
        content[_PROBLEM] = {"schema": {"$ref": "#/components/schemas/problem"}}
    if status in {*_TOO_LARGE, 400}:
        content[_PAGE] = {}
    return {"description": HTTP_STATUS_CODES[status], "content": content}
