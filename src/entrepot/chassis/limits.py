"""Rate limits that hold over all processes of a host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``burst + per_second × w`` requests in any window of *w* seconds (*w* ≥ 1)."""

    per_second: float
    burst: int
