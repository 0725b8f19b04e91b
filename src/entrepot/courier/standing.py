"""Whether an upstream fits what the catalog asks of it, as far as deliveries have shown.

A fault of the gateway's account or catalog holds the whole upstream, because a half-upgraded Odoo or a changed password
spoils every delivery. When the hold ends, one delivery is tried. If others go well meanwhile, it is the endpoint alone
that does not fit, and only its work waits. If others of the same endpoint go well, it is one delivery alone that is
refused: partners choose what is in it, so it must hold up nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_HOLD_S = 10.0
LONGEST_HOLD_S = 300.0
WELL_S = 10.0
"""How long a plan that was taken makes a refusal one of the delivery alone, as long as there are few."""
IN_A_ROW = 5
MAX_KNOWN = 4096


@dataclass(slots=True)
class Misfit:
    """A plan that the upstream does not take: since when, and until when it is not tried again."""

    since: float
    until: float
    wait_s: float


class Standing:
    """What is known of one upstream; times are Unix time. *on_trial*: it was held, and has not been well since."""

    def __init__(self) -> None:
        self.on_trial = False
        self.held_until = 0.0
        self._wait_s = 0.0
        self._well_at = 0.0
        self._misfits: dict[str, Misfit] = {}
        self._plans_well_at: dict[str, float] = {}
        self._refused_at: dict[int, float] = {}
        self._in_a_row = 0

    def begin_trial(self) -> None:
        """Note that another process held the upstream."""
        self.on_trial = True

    def rests_until(self, digest: str) -> float:
        """Return until when nothing of the plan with *digest* should be tried, 0.0 when it may be."""
        misfit = self._misfits.get(digest)
        return misfit.until if misfit is not None else 0.0

    def is_alone(self, seq: int, digest: str, now: float) -> bool:
        """Note that the transaction *seq* of the plan with *digest* is refused; tell whether it is it alone.

        It is when others of the plan went well since it was first refused, or went well just now and few in a row
        were refused.
        """
        well_at = self._plans_well_at.get(digest, 0.0)
        if len(self._refused_at) >= MAX_KNOWN:
            del self._refused_at[next(iter(self._refused_at))]
        if well_at > self._refused_at.setdefault(seq, now):
            return True
        self._in_a_row += 1
        return well_at > now - WELL_S and self._in_a_row <= IN_A_ROW

    def refused(self, digest: str, now: float) -> float | None:
        """Note that the upstream did not take the plan; return until when to hold it whole, None for no other hold."""
        misfit = self._misfits.setdefault(digest, Misfit(now, 0.0, 0.0))
        if misfit.until <= now:
            misfit.wait_s = _longer(misfit.wait_s)
            misfit.until = now + misfit.wait_s
        if self._well_at > misfit.since or self.held_until > now:
            return None
        self._wait_s = _longer(self._wait_s)
        self.held_until = now + self._wait_s
        self.on_trial = True
        return self.held_until

    def took(self, digest: str, now: float) -> bool:
        """Note that the upstream took the plan; return whether a hold is to be released."""
        self._misfits.pop(digest, None)
        if len(self._plans_well_at) >= MAX_KNOWN:
            self._plans_well_at.clear()
        self._plans_well_at[digest] = now
        self._well_at, self._in_a_row = now, 0
        was_held, self.on_trial = self.on_trial, False
        self.held_until = self._wait_s = 0.0
        return was_held


def _longer(wait_s: float) -> float:
    return min(LONGEST_HOLD_S, wait_s * 2 or FIRST_HOLD_S)
