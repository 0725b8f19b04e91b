import pytest
from ledger_support import Ledger

from entrepot.store import schema
from entrepot.store.engine import open_database


@pytest.fixture
def database(store_url):
    """A fresh store, on each kind of database."""
    database = open_database(store_url)
    schema.prepare(database)
    yield database
    database.close()


@pytest.fixture
def ledger(database):
    """A fresh store, and short ways to work on it."""
    return Ledger(database)
