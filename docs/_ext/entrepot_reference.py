"""Directives that write reference pages out of the code: keys of the catalog, problems, the console's API."""

# ruff: noqa: INP001 - Sphinx finds its extensions by path

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from entrepot import errors
from entrepot.catalog.check import keys
from entrepot.catalog.keys import Key, Table
from entrepot.chassis.errors import Error
from entrepot.console.table import PREFIX, TABLE


class CatalogKeys(SphinxDirective):
    """``.. catalog-keys:: PATH``: a table of the keys of the objects at PATH, as ``entrepot check`` reads them.

    With ``:kind: model`` only the keys that this kind has and others lack; with ``:kind: all`` those that all have.
    """

    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"kind": str}

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        path = self.arguments[0] if self.arguments else ""
        table = dict(keys())[path]
        return self.parse_text_to_nodes("\n".join(_table(self._chosen(table))))

    def _chosen(self, table: Table) -> Iterator[Key]:
        kind = self.options.get("kind")
        for key in table.keys:
            if kind is None or (kind == "all" and not key.kinds) or kind in key.kinds:
                yield key


def _table(chosen: Iterator[Key]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 20 22 58", "")
    yield from ("   * - key", "     - default", "     - meaning")
    for key in chosen:
        yield from (f"   * - ``{key.name}``", f"     - {_default(key)}", f"     - {key.meaning}")


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    return f"``{key.shown}``" if key.shown and " " not in key.shown.strip("{}[]") else key.shown or "none"


class Problem(SphinxDirective):
    """``.. problem:: InvalidToken``: code, status, title and meaning of an error; the content is what a caller does."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return a definition list of one entry."""
        error: type[Error] = getattr(errors, self.arguments[0], Error)
        meaning = " ".join((error.__doc__ or "").split()) if error is not Error else "A mistake of the gateway's own."
        lines = [f"**{error.code}** ({error.status})", f"   *{error.title}.* {meaning}", ""]
        lines += [f"   {line}" for line in self.content]
        return self.parse_text_to_nodes("\n".join(lines))


class ConsoleApi(SphinxDirective):
    """``.. console-api:: /clients /partners``: the methods of the resources at and below these paths."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.parse_text_to_nodes("\n".join(_rows(self.arguments[0].split())))


def _rows(chosen: list[str]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 38 12 50", "")
    yield from ("   * - method and path", "     - role", "     - what it does")
    for row in TABLE:
        if f"/{row.path.split('/')[1]}" in chosen:
            path = row.path.replace("<", "{").replace(">", "}")
            yield from (
                f"   * - ``{row.method} {PREFIX}{path}``", f"     - {row.least or 'nobody'}", f"     - {row.summary}",
            )  # fmt: skip


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("catalog-keys", CatalogKeys)
    app.add_directive("problem", Problem)
    app.add_directive("console-api", ConsoleApi)
    return {"version": "1", "parallel_read_safe": True}
