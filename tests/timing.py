"""How long something takes, on a machine that others use as well."""


def least_s(measure, enough_s: float, tries: int = 3) -> float:
    """Return the least of the seconds that *measure* returns, called *tries* times, or until that is below *enough_s*.

    What a busy machine keeps from the processor takes longer, and that says nothing of what is measured.
    """
    found = [measure()]
    while min(found) >= enough_s and len(found) < tries:
        found.append(measure())
    return min(found)
