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
    """Say of each test what it counted, and with what seed."""
    reports = [one for found in terminalreporter.stats.values() for one in found]
    ended = [one for one in reports if getattr(one, "when", "") == "teardown"]
    for report in ended:
        seed, lines = dict(report.user_properties).get("faults", (0, ()))
        if lines:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]} (ENTREPOT_TEST_SEED={seed})")
        for line in lines:
            terminalreporter.write_line(f"    {line}")


@pytest.fixture(scope="session")
def cycles():
    """How often a test does its harm."""
    return CYCLES


@pytest.fixture
def dice(request):
    """The chance of this test: it follows from the seed of the run."""
    return random.Random(f"{SEED}-{request.node.name}")


@pytest.fixture(autouse=True)
def counted(request):
    """Keep the test's seed and counts for the end of the run."""
    yield
    request.node.user_properties.append(("faults", (SEED, REPORT[:])))
    REPORT.clear()


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
