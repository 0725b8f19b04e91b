"""What the log says of something that is looked for every second."""

import logging

import pytest

from entrepot.chassis.absence import Absence


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "entrepot.test"]


def test_an_absence_is_logged_once_a_minute_and_its_end_once(said):
    seconds = iter(range(150))
    absence = Absence(logging.getLogger("entrepot.test"), "it is away", "it is back", clock=lambda: next(seconds))

    for _ in range(150):
        absence.note("refused")
    absence.end()
    absence.end()

    assert said() == [("WARNING", "it is away")] * 3 + [("INFO", "it is back")]
    assert not absence.is_noted


def test_the_next_absence_is_logged_at_once(said):
    absence = Absence(logging.getLogger("entrepot.test"), "it is away", "it is back", clock=lambda: 7.0)

    absence.end()
    absence.note("refused")
    absence.end()
    absence.note("refused")

    assert said() == [("WARNING", "it is away"), ("INFO", "it is back"), ("WARNING", "it is away")]
    assert absence.is_noted
