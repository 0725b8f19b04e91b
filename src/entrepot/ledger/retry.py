"""When a failed delivery is tried again: exponential growth with full jitter, a value.

Full jitter (any moment up to the bound) spreads the returning load best of the usual schemes: Marc Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """After the nth failure wait up to ``first_s * factor ** (n - 1)``, at most *ceiling_s*; give up after *age_s*."""

    first_s: float = 2.0
    factor: float = 2.0
    ceiling_s: float = 600.0
    age_s: float = 3 * 86_400.0

    def bound_s(self, failures: int) -> float:
        """Return the longest wait after *failures* in a row, of which there is at least one."""
        # The exponent is bounded, because a float is.
        return min(self.ceiling_s, self.first_s * self.factor ** min(failures - 1, 64))

    def delay_s(
        self, failures: int, *, retry_after_s: float | None = None, random: Callable[[], float] = random
    ) -> float:
        """Return how long to wait after *failures* in a row, no shorter than the upstream asked for.

        What an upstream asks for counts up to a day.
        """
        wait_s = self.bound_s(failures) * random()
        return max(wait_s, min(retry_after_s or 0.0, 86_400.0))


DEFAULT_RETRY = RetryPolicy()
