"""Pages of a list: ``offset`` and ``limit`` in, links to the next and previous page out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from flask import current_app, request

from entrepot.chassis.config import option

DEFAULT_PAGE_SIZE = 25
MAX_PAGES_AT_ONCE = 4
MAX_OFFSET = 2**31 - 1
"""What every database takes; who pages further than this wants a filter."""

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_Item = TypeVar("_Item")


class ApiPaginatedMixin:
    """Makes a page of what an ``ApiResource`` returns; it stands before or after that in the list of bases.

    *offset* and *limit* are those of the request, *has_next* is set by ``compute_has_next``.
    """

    enable_pagination = True
    has_next = False
    offset = 0
    limit = DEFAULT_PAGE_SIZE

    def get_paginated_query_result(self, query: Any) -> list[Any]:
        """Return the page of *query*, a query that has ``offset``, ``limit`` and ``all``."""
        return self.compute_has_next(list(self.apply_limits_to_query(query).all()))

    def apply_limits_to_query(self, query: Any) -> Any:
        """Return *query* (or a ``select``) bound to the page and one item more, which tells of a next page."""
        if self.offset:
            query = query.offset(self.offset)
        return query.limit(self.limit + 1)

    def compute_has_next(self, items: list[_Item]) -> list[_Item]:
        """Note whether there is a next page, and return *items* without the one too many (the list is changed)."""
        self.has_next = len(items) > self.limit
        del items[self.limit :]
        return items

    def read_page(self, add_error: Callable[[str, str], None]) -> None:
        """Set offset and limit from the request; *add_error* is told of what is not a number or out of bounds."""
        self.has_next = False
        self.offset, self.limit = 0, _default_page_size()
        if self.enable_pagination:
            self.offset = _read("offset", 0, self.offset, MAX_OFFSET, add_error)
            self.limit = _read("limit", 1, self.limit, self.limit * MAX_PAGES_AT_ONCE, add_error)

    def page_meta(self) -> dict[str, Any]:
        """Return ``pagination`` for the envelope, or nothing when it is turned off."""
        if not self.enable_pagination:
            return {}
        following = _link(self.offset + self.limit, self.limit) if self.has_next else None
        # The page before an offset below the limit is shorter, so that no item is in both.
        start = max(self.offset - self.limit, 0)
        previous = _link(start, self.offset - start) if self.offset else None
        return {"pagination": {"next": following, "prev": previous}}


def _default_page_size() -> int:
    text = option("CST_API_DEFAULT_PAGE_SIZE", current_app.config, str(DEFAULT_PAGE_SIZE))
    if _NUMBER.fullmatch(text) and int(text) > 0:
        return int(text)
    log.warning("CST_API_DEFAULT_PAGE_SIZE is not a number above 0", extra={"value": text, "used": DEFAULT_PAGE_SIZE})
    return DEFAULT_PAGE_SIZE


def _read(name: str, least: int, default: int, most: int, add_error: Callable[[str, str], None]) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    if _NUMBER.fullmatch(text) and least <= int(text) <= most:
        return int(text)
    add_error(f"Invalid parameter '{name}={text}'", name)
    return default


def _link(offset: int, limit: int) -> str:
    page = {"offset": str(offset), "limit": str(limit)}
    pairs = []
    # Not ``request.args``, which brings the values of one name together; odd bytes are passed on as they came.
    query = request.query_string.decode(errors="surrogateescape")
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        if name not in {"offset", "limit"}:
            pairs.append((name, value))
        elif name in page:
            pairs.append((name, page.pop(name)))
    return f"{request.base_url}?{urlencode([*pairs, *page.items()], errors='surrogateescape')}"
