import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest

# The running daemon is that of the gateway's own tests, the real Odoo that of the tests against it.
sys.path.append(str(Path(__file__).parent.parent / "gateway"))
sys.path.append(str(Path(__file__).parent.parent / "real"))

from fault_options import CYCLES, SEED
from fault_rig import Rig
from fault_verdict import REPORT


def pytest_terminal_summary(terminalreporter):
    """Say with what seed this was, and what was counted."""
    if REPORT:
        terminalreporter.section(f"faults: ENTREPOT_TEST_SEED={SEED} ENTREPOT_TEST_CYCLES={CYCLES}")
        for line in REPORT:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def cycles():
    """How often a test does its harm."""
    return CYCLES


@pytest.fixture
def dice(request):
    """The chance of this test: it follows from the seed of the run."""
    return random.Random(f"{SEED}-{request.node.name}")


@pytest.fixture(autouse=True)
def named(request):
    """Let the report say which test counted what."""
    before = len(REPORT)
    yield
    REPORT[before:] = [f"{request.node.name}: {line}" for line in REPORT[before:]]


@pytest.fixture
def make_rig(tmp_path_factory):
    """Return a function that starts gateway, couriers and witness."""
    made = []

    def make(directory=None, **options):
        rig = Rig(directory or tmp_path_factory.mktemp("faults"), seed=SEED, **options)
        made.append(rig)
        rig.begin()
        return rig

    yield make
    for rig in made:
        with suppress(AssertionError):
            rig.end()
