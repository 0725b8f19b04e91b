"""What a list may be asked for in its query."""

from __future__ import annotations

from entrepot.catalog.schemas import MANY_TYPES
from entrepot.connectors.base import Field


def is_sortable(field: Field) -> bool:
    """Return whether Odoo can order records by *field*: not by lines, sets of records or binary content."""
    return field.type not in MANY_TYPES | {"binary", "html"} and len(field.source) == 1 and not field.write_only
