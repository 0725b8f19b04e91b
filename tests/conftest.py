"""What tests of several packages need: a store on SQLite, and on PostgreSQL, empty or with its tables."""

import gc
import os
import re
import shutil
import sys

import pytest

from entrepot.store import schema
from entrepot.store.engine import open_database

# The tests start the program hundreds of times: compiled anew each time, it takes twice as long to come up.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_ignore_collect(collection_path, config):
    """Leave a file unread all of whose tests have a mark that ``-m`` shuts out: reading it takes longer than most."""
    wanted = config.getoption("markexpr")
    if collection_path.suffix != ".py" or " or " in wanted:
        return None
    marks = re.search(r"^pytestmark = (.*)$", collection_path.read_text(encoding="utf-8"), re.MULTILINE)
    shut_out = set(re.findall(r"\bnot (\w+)", wanted))
    return True if marks and shut_out.intersection(re.findall(r"pytest\.mark\.(\w+)", marks[1])) else None


def pytest_collection_finish():
    """Take what has been read out of the search for garbage, which would go through all of it again and again."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Say what tests have counted, and with what seed: their property ``counted``. They may have run elsewhere."""
    reports = [one for found in terminalreporter.stats.values() for one in found]
    for report in (one for one in reports if getattr(one, "when", "") == "teardown"):
        for name, said in report.user_properties:
            if name == "counted":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {said}")


@pytest.fixture
def logged_by(caplog):
    """Return a function that gives what a class's module logged: servers of other tests log in this process, too."""

    def logged_by(class_):
        return [record for record in caplog.records if record.name == class_.__module__]

    return logged_by


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


@pytest.fixture(scope="session")
def fill_store(tmp_path_factory):
    """Return a function that puts a store with all its tables into a directory: a copy, as migrations take longer."""
    made = tmp_path_factory.mktemp("store") / "entrepot.db"
    database = open_database(f"sqlite:///{made}")
    schema.prepare(database)
    database.close()

    def fill(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(made, directory)

    return fill


@pytest.fixture
def database(tmp_path, store_url, fill_store):
    """A store with all its tables: every test that asks for it runs on both databases."""
    if store_url.startswith("sqlite:"):
        fill_store(tmp_path / "store")
    database = open_database(store_url)
    schema.prepare(database)
    yield database
    database.close()
