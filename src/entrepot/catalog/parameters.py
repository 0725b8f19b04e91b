"""What a list may be asked for in its query: which fields filter, how, which sort, how long a page is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from entrepot.catalog.schemas import MANY_TYPES, TEXT_TYPES
from entrepot.connectors.base import Field, ModelMapping

# ``?name=x`` is "=", ``?name[ne]=x`` is "!=" and so on: the words of a query and the operators of a ListQuery.
OPERATORS: Mapping[str, str] = {
    "eq": "=",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "in": "in",
    "like": "like",
}
_ORDERED = ("eq", "ne", "lt", "le", "gt", "ge", "in")
_CHOSEN = ("eq", "ne", "in")
_BY_TYPE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(TEXT_TYPES, (*_ORDERED, "like")),
    **dict.fromkeys(("integer", "float", "monetary", "date", "datetime"), _ORDERED),
    **dict.fromkeys(("selection", "many2one", "many2many", "reference", "many2one_reference"), _CHOSEN),
    "boolean": ("eq", "ne"),
}


@dataclass(frozen=True, slots=True)
class ListParameters:
    """The query of one list. *filters* maps a public name to the words of `OPERATORS` that it takes.

    *fields* are what ``?fields=`` may name; *shown* are those that a list shows unasked (all but the binary ones).
    """

    filters: Mapping[str, tuple[str, ...]]
    sort: tuple[str, ...]
    search: tuple[str, ...]
    fields: tuple[str, ...]
    shown: tuple[str, ...]
    page_default: int
    page_max: int


def list_parameters(mapping: ModelMapping) -> ListParameters:
    """Return what a list of *mapping* may be asked for; its fields must be resolved."""
    readable = [field for field in mapping.fields if not field.write_only]
    # Records that are addressed by another key show Odoo's id only where the catalog names it.
    own = [Field("id", ("id",), "integer", read_only=True)] if mapping.key == "id" else []
    readable = [*(field for field in own if field.public not in {item.public for item in readable}), *readable]
    return ListParameters(
        filters={field.public: operators for field in readable if (operators := operators_of(field))},
        sort=mapping.sort,
        search=mapping.search,
        fields=tuple(field.public for field in readable),
        shown=tuple(field.public for field in readable if field.type != "binary"),
        page_default=mapping.page_default,
        page_max=mapping.page_max,
    )


def operators_of(field: Field) -> tuple[str, ...]:
    """Return the words of `OPERATORS` that filter by *field*; none for lines and binary fields."""
    return _BY_TYPE.get(field.type, ())


def is_sortable(field: Field) -> bool:
    """Return whether Odoo can order records by *field*: not by lines, sets of records or binary content."""
    return field.type not in MANY_TYPES | {"binary", "html"} and len(field.source) == 1 and not field.write_only
