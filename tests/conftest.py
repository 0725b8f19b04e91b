"""What tests of several packages need: an empty store on SQLite, and on PostgreSQL."""

import pytest


def pytest_terminal_summary(terminalreporter):
    """Say what tests have counted, and with what seed: their property ``counted``. They may have run elsewhere."""
    reports = [one for found in terminalreporter.stats.values() for one in found]
    for report in (one for one in reports if getattr(one, "when", "") == "teardown"):
        for name, said in report.user_properties:
            if name == "counted":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {said}")


@pytest.fixture(scope="session")
def postgresql():
    """A running PostgreSQL server of this session's own."""
    from postgres import server  # noqa: PLC0415 - without the driver, the other tests run

    with server() as running:
        yield running


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/store/entrepot.db"


@pytest.fixture(scope="session")
def _postgresql_url(postgresql):
    return postgresql.create()


@pytest.fixture
def postgresql_url(postgresql, _postgresql_url):
    """The URL of an empty database."""
    yield _postgresql_url
    postgresql.clear(_postgresql_url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request):
    """The URL of an empty store: every test that asks for it runs on both databases."""
    return request.getfixturevalue(f"{request.param}_url")
