"""A document as it was written: values that know at which file and line they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrepot.connectors.base import Json

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value of a document: a scalar, a list of nodes, or a mapping of names to nodes.

    *file* and *line* (from 1, 0 when it has none) are those of its key where it has one, else of itself.
    """

    value: Scalar | list[Node] | dict[str, Node]
    file: str
    line: int = 0

    @property
    def place(self) -> str:
        """Return ``file:line``, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def entries(self) -> dict[str, Node]:
        """Return what the mapping holds; nothing when it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """Return what the list holds; nothing when it is no list."""
        return self.value if isinstance(self.value, list) else []

    def at(self, steps: Sequence[str]) -> Node:
        """Return the node that *steps* lead to, or the last one on the way there that exists."""
        node = self
        for step in steps:
            if step not in node.entries:
                return node
            node = node.entries[step]
        return node


def plain(node: Node) -> Json:
    """Return the value of *node* without places."""
    if isinstance(node.value, dict):
        return {name: plain(child) for name, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def rooted(value: Json, file: str) -> Node:
    """Return *value*, which came from no file, as a node that says *file* for its place."""
    if isinstance(value, Mapping):
        return Node({name: rooted(child, file) for name, child in value.items()}, file)
    if isinstance(value, list | tuple):
        return Node([rooted(child, file) for child in value], file)
    return Node(value, file)
