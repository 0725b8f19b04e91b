import pytest

from entrepot.store import schema
from entrepot.store.engine import open_database


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/store/entrepot.db"


@pytest.fixture
def empty(url):
    database = open_database(url)
    yield database
    database.close()


@pytest.fixture
def database(empty):
    schema.prepare(empty)
    return empty
