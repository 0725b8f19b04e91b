import pytest
from ledger_support import Ledger


@pytest.fixture
def ledger(database):
    """A fresh store, and short ways to work on it."""
    return Ledger(database)
