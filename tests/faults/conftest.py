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
from real_broken import company, erp, machine  # noqa: F401 - fixtures


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
    for line in REPORT:
        request.node.user_properties.append(("counted", f"ENTREPOT_TEST_SEED={SEED}: {line}"))
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
