"""Public paths: their syntax, and which of them mean the same requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from entrepot.catalog.definitions import RESERVED_PATHS, Endpoint
from entrepot.connectors.base import ModelMapping

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MAX_PATH = 500
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
_VALUE = re.compile(r"\{([a-z_][A-Za-z0-9_]*)(\.\.\.)?\}")
_OF_OPERATION: Mapping[str, tuple[str, bool]] = {
    "list": ("GET", False),
    "create": ("POST", False),
    "read": ("GET", True),
    "update": ("PATCH", True),
    "delete": ("DELETE", True),
}


def public_path(value: object) -> str:
    """Return *value*, a public path such as ``/v1/orders/{id}`` or ``/v1/rates/{rest...}``; raises ValueError."""
    if not isinstance(value, str) or not value.startswith("/") or value == "/":
        raise ValueError("must be a path such as /v1/orders, /v1/orders/{id} or /v1/rates/{rest...}")
    if len(value) > MAX_PATH:
        raise ValueError(f"must be at most {MAX_PATH} characters long")
    segments = value[1:].split("/")
    for index, segment in enumerate(segments):
        _check_segment(segment, is_last=index == len(segments) - 1)
    names = value_names(value)
    if len(set(names)) < len(names):
        raise ValueError("must not name a path value twice")
    for reserved in RESERVED_PATHS:
        base = reserved.rstrip("/")
        if value == base or value.startswith(f"{base}/"):
            raise ValueError(f"must not be below {base}: the gateway answers there itself")
    return value


def _check_segment(segment: str, *, is_last: bool) -> None:
    match = _VALUE.fullmatch(segment)
    if match is not None:
        if match[2] and not is_last:
            raise ValueError(f"{segment} must stand last: it takes the rest of the path")
        return
    if segment in {"", ".", ".."}:
        raise ValueError("must not hold an empty segment, `.` or `..`, nor end in `/`")
    if "{" in segment or "}" in segment:
        raise ValueError(f"{segment}: a path value fills a whole segment and has a name of letters, digits and `_`")
    if not _LITERAL.fullmatch(segment):
        raise ValueError(f"{segment}: only letters, digits and -._~!$&'()*+,;=:@ may stand in a path, unescaped")


def value_names(path: str) -> tuple[str, ...]:
    """Return the names of the path values of *path*, in order, without the dots of the last one."""
    return tuple(match[1] for match in _VALUE.finditer(path))


def takes_rest(path: str) -> bool:
    """Return whether *path* ends in ``{name...}``."""
    return path.endswith("...}")


def shape(path: str) -> str:
    """Return *path* without the names of its values: paths of one shape take the same requests."""
    return _VALUE.sub(lambda match: "{...}" if match[2] else "{}", path)


def routes(endpoint: Endpoint) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield every path that *endpoint* answers at, the paths of its records too, with the methods there.

    HEAD comes with GET, and OPTIONS by itself: neither is named.
    """
    for path in endpoint.paths:
        if endpoint.model is not None:
            for is_record in (False, True):
                yield path + "/{id}" * is_record, _model_methods(endpoint.model, is_record=is_record)
        elif endpoint.call is not None:
            yield path, frozenset({endpoint.call.http_method})
        elif endpoint.relay is not None:
            yield path, frozenset(endpoint.relay.methods)


def _model_methods(mapping: ModelMapping, *, is_record: bool) -> frozenset[str]:
    pairs = (_OF_OPERATION[operation] for operation in mapping.operations)
    return frozenset(method for method, of_record in pairs if of_record is is_record)


def methods(endpoint: Endpoint) -> frozenset[str]:
    """Return all methods of *endpoint*."""
    return frozenset().union(*_methods(routes(endpoint)))


def _methods(found: Iterable[tuple[str, frozenset[str]]]) -> Iterator[frozenset[str]]:
    return (names for _, names in found)
