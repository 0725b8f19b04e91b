"""How long something takes, on a machine that others use as well, and what day it is meanwhile."""

import time


def least_s(measure, enough_s: float, tries: int = 3) -> float:
    """Return the least of the seconds that *measure* returns, called *tries* times, or until that is below *enough_s*.

    What a busy machine keeps from the processor takes longer, and that says nothing of what is measured.
    """
    found = [measure()]
    while min(found) >= enough_s and len(found) < tries:
        found.append(measure())
    return min(found)


def stay_within_a_day() -> None:
    """Return when the day of UTC goes on for a minute at least: the next one brings a new quota."""
    left_s = 86_400 - time.time() % 86_400
    if left_s < 60:
        time.sleep(left_s + 1)
