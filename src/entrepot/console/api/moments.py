"""Moments as the API shows them and takes them: RFC 3339."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from entrepot.errors import BadRequest


def shown(seconds: float) -> str:
    """Return *seconds* since 1970 in RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown_or_none(seconds: float | None) -> str | None:
    """Return the same, None for None."""
    return None if seconds is None else shown(seconds)


def read(values: Mapping[str, Any], name: str) -> datetime | None:
    """Return the moment *name* of *values*, which their schema says to have its zone, in UTC; None without one.

    Raises BadRequest for what RFC 3339 allows and is none here: a leap second, the year 0.
    """
    if name not in values:
        return None
    text = values[name]
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BadRequest(f"{name}: {text} is no moment that can be taken") from exc
