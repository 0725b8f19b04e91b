"""The routing table: from a path to what stands there, in time that grows with the path alone.

A template is a path whose segments are literal, ``{name}`` (one segment) or, last, ``{name...}`` (the rest, at least
one character). A literal wins over ``{name}``, which wins over ``{name...}``. Paths are bytes, as they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

Place = TypeVar("Place")


class _Node(Generic[Place]):
    """One segment of the tree of templates."""

    __slots__ = ("literal", "place", "rest", "variable")

    def __init__(self) -> None:
        self.literal: dict[bytes, _Node[Place]] = {}
        self.variable: _Node[Place] | None = None
        self.rest: Place | None = None
        self.place: Place | None = None


class Router(Generic[Place]):
    """Templates and what stands at each; immutable once made. Raises ValueError for a template that stands twice."""

    def __init__(self, places: Iterable[tuple[str, Place]]) -> None:
        self._root: _Node[Place] = _Node()
        self._static: dict[bytes, tuple[Place, tuple[bytes, ...]]] = {}
        for template, place in places:
            self._add(template.encode("ascii"), place)

    def _add(self, template: bytes, place: Place) -> None:
        if b"{" not in template:
            if template in self._static:
                raise ValueError(f"{template.decode()} stands twice")
            self._static[template] = (place, ())
        node = self._root
        for segment in template[1:].split(b"/"):
            if segment.endswith(b"...}"):
                if node.rest is not None:
                    raise ValueError(f"{template.decode()} stands twice")
                node.rest = place
                return
            if segment.startswith(b"{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literal.setdefault(segment, _Node())
        if node.place is not None:
            raise ValueError(f"{template.decode()} stands twice")
        node.place = place

    def match(self, path: bytes) -> tuple[Place, tuple[bytes, ...]] | None:
        """Return what stands at *path* and the values of the template's variables in order, or None."""
        found = self._static.get(path)
        if found is not None:
            return found
        segments = path.split(b"/")
        node = self._root
        values = []
        # Nearly always the first branch at every step is the right one; only otherwise all of them are tried.
        for segment in segments[1:]:
            child = node.literal.get(segment)
            if child is None:
                child = node.variable
                if child is None or not segment:
                    break
                values.append(segment)
            node = child
        else:
            if node.place is not None:
                return node.place, tuple(values)
        return _walk(self._root, segments, 1, ())


def _walk(
    node: _Node[Place], segments: list[bytes], index: int, values: tuple[bytes, ...]
) -> tuple[Place, tuple[bytes, ...]] | None:
    if index == len(segments):
        return None if node.place is None else (node.place, values)
    segment = segments[index]
    child = node.literal.get(segment)
    if child is not None:
        found = _walk(child, segments, index + 1, values)
        if found is not None:
            return found
    if node.variable is not None and segment:
        found = _walk(node.variable, segments, index + 1, (*values, segment))
        if found is not None:
            return found
    if node.rest is not None and (segment or index + 1 < len(segments)):
        return node.rest, (*values, b"/".join(segments[index:]))
    return None
