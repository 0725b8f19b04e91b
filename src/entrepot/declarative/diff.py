"""What differs between two catalogs, as a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from entrepot.catalog.written import Document
from entrepot.connectors.base import Json

SECTIONS = ("upstreams", "endpoints", "partners", "plans")
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key of an object that differs: dotted *key*, *old* and *new* value.

    *has_old* and *has_new* say which of them exist; what does not is at its default.
    """

    key: str
    old: Json = None
    new: Json = None
    has_old: bool = True
    has_new: bool = True

    def line(self) -> str:
        """Return ``key: old → new``, with ``(default)`` for what does not exist."""
        old = _shown(self.old) if self.has_old else "(default)"
        new = _shown(self.new) if self.has_new else "(default)"
        return f"{self.key}: {old} → {new}"

    def as_json(self) -> dict[str, Json]:
        """Return ``{"key", "old", "new"}``, without what does not exist."""
        found: dict[str, Json] = {"key": self.key}
        if self.has_old:
            found["old"] = self.old
        if self.has_new:
            found["new"] = self.new
        return found


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object that differs; *keys* are those of a changed one."""

    section: str
    name: str
    kind: Literal["added", "changed", "removed"]
    keys: tuple[KeyChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """All objects that differ, by section and name."""

    changes: tuple[ObjectChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    def lines(self) -> Iterator[str]:
        """Yield the difference as text: ``+``, ``~`` or ``-`` and the object, below it the keys that changed."""
        for change in self.changes:
            yield f"{_SIGNS[change.kind]} {change.section}.{change.name}"
            for key in change.keys:
                yield f"    {key.line()}"

    def summary(self) -> str:
        """Return one line for each object."""
        return "\n".join(f"{_SIGNS[change.kind]} {change.section}.{change.name}" for change in self.changes)

    def as_json(self) -> list[dict[str, Json]]:
        """Return a list of ``{"section", "name", "change", "keys"}``."""
        return [
            {
                "section": change.section,
                "name": change.name,
                "change": change.kind,
                "keys": [key.as_json() for key in change.keys],
            }
            for change in self.changes
        ]


def difference(old: Document, new: Document) -> Difference:
    """Return what turns *old* into *new*. Secrets are references in both, so no value here is one."""
    return Difference(
        tuple(
            change
            for section in SECTIONS
            for change in _section_changes(section, old.get(section, {}), new.get(section, {}))
        )
    )


def _section_changes(section: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[ObjectChange]:
    for name in sorted({*old, *new}):
        if name not in old:
            yield ObjectChange(section, name, "added")
        elif name not in new:
            yield ObjectChange(section, name, "removed")
        elif old[name] != new[name]:
            yield ObjectChange(section, name, "changed", tuple(_key_changes(old[name], new[name], ())))


def _key_changes(old: Json, new: Json, steps: tuple[str, ...]) -> Iterator[KeyChange]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        if old != new:
            yield KeyChange(".".join(steps), old, new)
        return
    for key in dict.fromkeys((*old, *new)):
        path = (*steps, key)
        if key not in old:
            yield KeyChange(".".join(path), new=new[key], has_old=False)
        elif key not in new:
            yield KeyChange(".".join(path), old=old[key], has_new=False)
        else:
            yield from _key_changes(old[key], new[key], path)


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return text if len(text) <= 200 else f"{text[:197]}…"
