"""A Debian host with the package of this checkout in it, once for each suite."""

import sys
from pathlib import Path

import pytest
from hosts import Host, Load

sys.path.append(str(Path(__file__).parent.parent / "docs"))


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def fresh(request):
    """A fresh host of each suite, without the package."""
    if not Host.is_wanted(request.param):
        pytest.skip("ENTREPOT_TEST_SUITES leaves it out")
    with Host(request.param) as host:
        host.before = host.files()
        yield host


@pytest.fixture(scope="module")
def host(fresh):
    """A host with the package, an ERP, a catalog and a token."""
    fresh.install()
    fresh.furnish()
    return fresh


@pytest.fixture
def load(host):
    """Partners' requests from outside the host, all the time; at the end none may have failed."""
    with Load(host) as load:
        yield load
    assert load.failures == []
    assert load.count > 0
