"""A directive that writes the settings out of the packaged defaults; Debian builds manual pages with Sphinx alone."""

# ruff: noqa: INP001 - Sphinx finds its extensions by path

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles


class SettingsOf(SphinxDirective):
    """``.. settings-of:: FILE``: a section for each section of FILE, with every key, its default and its help."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        name, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(name)
        found = nodes.Element()
        found.document = self.state.document
        # Debian 12's Sphinx has no parse_text_to_nodes.
        nested_parse_with_titles(self.state, StringList(list(_lines(Path(path))), source=name), found)
        return found.children


def _lines(path: Path) -> Iterator[str]:
    """Yield the sections of the file at *path*, in which the comment above a section or a key is its help."""
    said: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, default = line.partition(" =")
        if line.startswith(";"):
            said.append(line.removeprefix("; "))
        elif line.startswith("["):
            yield from (line, "-" * len(line), "", *said, "")
            said.clear()
        elif key:
            shown = f" ``{default.strip()}``" if default else ""
            yield from (f"**{key}** ={shown}", *(f"    {each}" for each in said), "")
            said.clear()
        else:
            said.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("settings-of", SettingsOf)
    return {"version": "1", "parallel_read_safe": True}
