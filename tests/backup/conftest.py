"""A store that has been started, an empty one of another host, and a place for backups."""

import shutil

import pytest
from backup_support import Store


@pytest.fixture
def store(tmp_path, fill_store):
    """A store that has been started once."""
    fill_store(tmp_path / "store")
    store = Store(tmp_path / "store")
    with store.started():
        pass
    return store


@pytest.fixture
def other(tmp_path, store):
    """An empty store of another host, with the same master key."""
    other = Store(tmp_path / "other")
    other.home.mkdir(mode=0o750)
    shutil.copy(store.home / "master.key", other.home)
    return other


@pytest.fixture
def backups(tmp_path):
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"
