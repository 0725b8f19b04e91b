"""Times as they are typed: ``30m`` from now or ago, or a moment in RFC 3339; and as they are shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from entrepot.chassis.values import duration_s


def lifetime_s(text: str, now: float) -> float:
    """Return the seconds from *now* (since 1970) that *text* says. Raises ValueError with a sentence.

    *text* is a duration such as ``12h``, or a moment with its zone such as ``2027-01-31T12:00:00Z``.
    """
    try:
        return duration_s(text)
    except ValueError:
        return _moment(text) - now


def moment_ago(text: str, now: float) -> float:
    """Return the moment that *text* says: that long before *now*, or a moment with its zone. Raises ValueError."""
    return ago(text)(now)


def ago(text: str) -> Callable[[float], float]:
    """Return what tells, of the present moment, the one that *text* says; see ``moment_ago``. Raises ValueError."""
    try:
        seconds = duration_s(text)
    except ValueError:
        moment = _moment(text)
        return lambda _now: moment
    return lambda now: now - seconds


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is neither a duration such as 12h nor a time such as 2027-01-31T12:00Z") from exc
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say its zone; Z is UTC")
    return moment.timestamp()


def moment_text(seconds: float) -> str:
    """Return *seconds* since 1970 in RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span_text(seconds: float) -> str:
    """Return *seconds* in the two largest units that it has: ``2d 3h``, ``4m 10s``, ``0s``."""
    left, parts = max(0, round(seconds)), []
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts[:2]) or "0s"
