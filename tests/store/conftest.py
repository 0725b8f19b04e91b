import pytest

from entrepot.store import schema
from entrepot.store.engine import open_database


@pytest.fixture
def empty(store_url):
    database = open_database(store_url)
    yield database
    database.close()


@pytest.fixture
def database(empty):
    schema.prepare(empty)
    return empty


@pytest.fixture
def on_sqlite(sqlite_url):
    """A database whose file can be looked at."""
    database = open_database(sqlite_url)
    schema.prepare(database)
    yield database
    database.close()


@pytest.fixture
def on_postgresql(postgresql_url):
    database = open_database(postgresql_url)
    schema.prepare(database)
    yield database
    database.close()
