"""Times as they are typed: ``30m`` from now, or a moment in RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime

from entrepot.chassis.values import duration_s


def lifetime_s(text: str, now: float) -> float:
    """Return the seconds from *now* (since 1970) that *text* says. Raises ValueError with a sentence.

    *text* is a duration such as ``12h``, or a moment with its zone such as ``2027-01-31T12:00:00Z``.
    """
    try:
        return duration_s(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is neither a duration such as 12h nor a time such as 2027-01-31T12:00Z") from exc
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say its zone; Z is UTC")
    return moment.timestamp() - now


def moment_text(seconds: float) -> str:
    """Return *seconds* since 1970 in RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
