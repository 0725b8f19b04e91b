"""Resources made of the rows of the table: access and input are checked here, before a handler sees anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from flask import request

from entrepot.chassis.web import ApiPaginatedMixin, ApiResource
from entrepot.chassis.web.request_id import operation_id
from entrepot.console.access import admitted
from entrepot.console.console import console
from entrepot.console.guard import source
from entrepot.console.reading import Reading
from entrepot.console.rows import Call, Page, Row
from entrepot.errors import NotFound
from entrepot.store.audit import Actor


class TableResource(ApiPaginatedMixin, ApiResource):
    """All methods of one path."""

    rows: ClassVar[Mapping[str, Row]]

    @property
    def enable_pagination(self) -> bool:  # type: ignore[override]  # an attribute there
        """Whether the method of the request answers pages."""
        row = self.rows.get(request.method)
        return row is not None and row.pages


def resources(table: Iterable[Row]) -> dict[str, type[TableResource]]:
    """Return one resource for each path of *table*."""
    by_path: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in table:
        by_path[row.path][row.method] = row
    return {path: _resource(path, rows) for path, rows in by_path.items()}


def _resource(path: str, rows: Mapping[str, Row]) -> type[TableResource]:
    methods = {method.lower(): _method(row) for method, row in rows.items()}
    # Flask tells resources apart by the names of their classes.
    return type(path, (TableResource,), {"rows": rows, **methods})


def _method(row: Row) -> Callable[..., Any]:
    reading = Reading(row)

    def method(resource: TableResource, **names: str) -> Any:
        caller = None if row.least is None else admitted(row.least)
        if not all(name.isprintable() for name in names.values()):
            raise NotFound("nothing has such a name")
        here = console()
        name = "" if caller is None else caller.operator.name
        actor = Actor(name, "console", operation_id(), source(request, here.settings.console)[:64])
        page = Page(resource.offset, resource.limit)
        answer = row.handler(Call(here, actor, caller, names, reading.query(), reading.body(), page))
        if row.pages:
            return resource.compute_has_next(answer)
        return answer if row.is_raw or isinstance(answer, tuple) else (answer, row.status)

    return method
