"""Catalog files: several of them are one catalog, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from entrepot.catalog.check import Draft, check
from entrepot.catalog.keys import describe, mistake_at
from entrepot.catalog.tree import Node, rooted
from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Json
from entrepot.declarative.reader import read_tree
from entrepot.errors import CatalogError

STANDING = "the catalog in force"
"""What objects that are in no file say for their place."""
GIVEN = "what is given"
"""What an object that an operator has just written says for its place."""

_PLACE = re.compile(r"(?P<file>.*?)(:(?P<line>[0-9]+))?(: .*)?", re.DOTALL)

Objects = Mapping[tuple[str, str], Json]


def check_files(paths: Sequence[Path], standing: Objects | None = None) -> Draft:
    """Return what the files at *paths* define together; raises CatalogError with every mistake in all of them.

    *standing* are objects that exist besides, as ``(section, name)`` → definition: they may be referred to, must agree
    with the files, and give way to an object of the same name in a file.
    """
    mistakes: list[Mistake] = []
    trees = [tree for path in paths if (tree := _tree(path, mistakes)) is not None]
    is_whole = len(trees) == len(paths)
    merged = merge(trees, mistakes)
    # What the reader has complained of it replaced by something harmless: that is not to be complained of again.
    told = {mistake.path for mistake in mistakes}
    found: list[Mistake] = []
    draft = check(beside(merged, standing or {}), found, is_whole=is_whole)
    mistakes += (mistake for mistake in found if mistake.path not in told)
    if not paths:
        mistakes.append(Mistake("no file is given"))
    if mistakes:
        raise CatalogError(summary(mistakes), errors=_in_order(mistakes, paths))
    return draft


def _in_order(mistakes: Sequence[Mistake], paths: Sequence[Path]) -> list[Mistake]:
    """Return *mistakes* as one reads: file by file, line by line."""
    files = {str(path): index for index, path in enumerate(paths)}

    def position(mistake: Mistake) -> tuple[int, int]:
        place = _PLACE.fullmatch(mistake.path or "")
        return (files.get(place["file"], len(files)), int(place["line"] or 0)) if place else (len(files), 0)

    return sorted(mistakes, key=position)


def _tree(path: Path, mistakes: list[Mistake]) -> Node | None:
    tree, found = read_tree(path)
    mistakes.extend(found)
    if tree is not None and not isinstance(tree.value, dict):
        message = f"a catalog is a mapping with upstreams, endpoints or partners; this is {describe(tree)}"
        mistakes.append(mistake_at(tree.place, (), message))
        return None
    return tree


def merge(trees: Iterable[Node], mistakes: list[Mistake]) -> Node:
    """Return one tree of *trees*, whose roots are mappings; a name that stands in two of them is a mistake."""
    sections: dict[str, Node] = {}
    root = None
    for tree in trees:
        root = root or tree
        for section, node in tree.entries.items():
            first = sections.setdefault(section, node)
            if first is not node:
                sections[section] = _joined(section, first, node, mistakes)
    return Node(sections, root.file if root else "catalog", root.line if root else 0)


def _joined(section: str, first: Node, second: Node, mistakes: list[Mistake]) -> Node:
    if not isinstance(first.value, dict) or not isinstance(second.value, dict):
        # The one that is no mapping is kept, for the check to complain of.
        return second if isinstance(first.value, dict) else first
    names = dict(first.value)
    for name, node in second.value.items():
        if name in names:
            message = f"{name} stands twice; first at {names[name].place}"
            mistakes.append(mistake_at(node.place, (section, name), message))
        names.setdefault(name, node)
    return Node(names, first.file, first.line)


def beside(tree: Node, standing: Objects) -> Node:
    """Return *tree* with the objects of *standing* that it does not name itself."""
    sections = dict(tree.entries)
    for (section, name), definition in standing.items():
        known = sections.get(section, Node({}, tree.file))
        if isinstance(known.value, dict) and name not in known.value:
            node = rooted(definition, STANDING)
            sections[section] = Node({**known.value, name: node}, known.file, known.line)
    return Node(sections, tree.file, tree.line)


def summary(mistakes: Sequence[Mistake]) -> str:
    """Return in a sentence that there are *mistakes*."""
    return "the catalog has 1 mistake" if len(mistakes) == 1 else f"the catalog has {len(mistakes)} mistakes"
