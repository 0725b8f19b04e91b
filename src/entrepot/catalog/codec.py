"""Frozen dataclasses as JSON and back, exactly: tuples, frozensets and networks come back as what they were.

The types of the fields say how; a field that holds its default is left out. What is typed as any JSON stays as it is,
with one exception: a domain comes back as tuples all the way down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from entrepot.chassis.networks import read_network

Decoder = Callable[[Any], Any]
T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return *value*, a dataclass of the catalog or a part of one, as what JSON can hold."""
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: encode(item) for name, default in _defaults(kind) if (item := getattr(value, name)) != default}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value)
    return value


def decode(kind: type[T], data: Any) -> T:
    """Return the dataclass *kind* that `encode` made *data* of. Raises TypeError, ValueError or AttributeError."""
    cacheable: Any = kind
    result: T = _dataclass(cacheable)(data)
    return result


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((spec.name, _default(spec)) for spec in fields(kind))


def _default(spec: Field[Any]) -> Any:
    if spec.default_factory is not MISSING:
        return spec.default_factory()
    return spec.default


@cache
def _dataclass(kind: Any) -> Decoder:
    hints = get_type_hints(kind)
    names = frozenset(hints)
    # The decoders are found at the first value, not now: a field of the catalog holds fields of its own kind.
    decoders: dict[str, Decoder] = {}

    def build(data: dict[str, Any]) -> Any:
        if not decoders:
            decoders.update({name: _decoder(hint) for name, hint in hints.items()})
        if not names.issuperset(data):
            raise ValueError(f"unknown parts of a {kind.__name__}: {', '.join(sorted(set(data) - names))}")
        return kind(**{name: decoders[name](item) for name, item in data.items()})

    return build


def _decoder(hint: Any) -> Decoder:
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _union(args)
    if origin is tuple:
        return _tuple(args)
    if origin is frozenset:
        return frozenset
    if origin is Mapping:
        return _mapping(args[1])
    if origin is Sequence:
        return _frozen
    if is_dataclass(hint):
        return _dataclass(hint) if isinstance(hint, type) else _same
    return _same


def _union(args: tuple[Any, ...]) -> Decoder:
    if IPv4Network in args:
        return read_network
    inner = _decoder(next(arg for arg in args if arg is not NoneType))
    return inner if inner is _same else lambda item: None if item is None else inner(item)


def _tuple(args: tuple[Any, ...]) -> Decoder:
    inner = _decoder(args[0])
    return tuple if inner is _same else lambda items: tuple(inner(item) for item in items)


def _mapping(value_hint: Any) -> Decoder:
    inner = _decoder(value_hint)
    return _same if inner is _same else lambda items: {key: inner(item) for key, item in items.items()}


def _frozen(item: Any) -> Any:
    return tuple(_frozen(part) for part in item) if isinstance(item, list) else item


def _same(item: Any) -> Any:
    return item
