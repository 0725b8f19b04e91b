"""Nothing goes out of who is disabled, whatever the ledger knows of that; when the database is back, it knows."""

import sqlite3
import subprocess
import time
from contextlib import closing

import pytest
from stand import eventually

from entrepot.chassis.shared import SharedState
from entrepot.identity.revocation import REVOCATIONS, Revocations, Switch

pytestmark = pytest.mark.slow


@pytest.fixture
def revocations(stand):
    """The revocations as another process has them."""
    directory = stand.directory / "store"
    revocations = Revocations(directory / REVOCATIONS, SharedState.open(directory / "shared").counter(REVOCATIONS))
    yield revocations
    revocations.close()


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "acme")])
def test_nothing_goes_out_of_who_is_disabled_though_the_ledger_does_not_know(stand, receiver, revocations, kind, name):
    stand.run()
    stand.wait_state(stand.put("before"), "delivered")
    revocations.add(Switch(kind, name, disabled=True, at=time.time()))

    kept = stand.put("kept")
    others = stand.put("theirs", partner="bolt")

    stand.wait_state(others, "delivered")
    assert receiver.bodies == ["before", "theirs"]
    assert stand.sight(kept[0]).attempts == 0
    revocations.add(Switch(kind, name, disabled=False, at=time.time()))
    stand.wait_state(kept, "delivered")


def test_what_waits_of_a_client_that_was_disabled_while_the_database_was_away_is_held_when_it_is_back(stand, receiver):
    stand.hold()
    ids = stand.put("one", "two")
    stand.run()
    assert eventually(lambda: "courier delivers" in stand.log())
    disable = [*stand._command("client", "disable", "shop")]

    with closing(sqlite3.connect(stand.directory / "store" / "entrepot.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = subprocess.run(disable, check=False, capture_output=True, text=True, timeout=60)
        other.execute("ROLLBACK")

    assert done.returncode == 1
    assert "the client is refused, but the database is away" in done.stderr
    stand.wait_state(ids, "held")
    stand.release()
    stand.wait_state(stand.put("theirs", partner="bolt"), "delivered")
    assert receiver.bodies == ["theirs"]
    assert '"disable"' in stand.entrepot("audit", "--json")
