"""After a restore all that is not finished is held, for an operator to look at."""

import pytest
from sqlalchemy import event

from entrepot.ledger import restored
from entrepot.ledger.restored import hold_unfinished

STEP = 3


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(restored, "STEP", STEP)


def held_with_counts(connection):
    """Hold all; return how much that was, and how much each statement changed."""
    counts = []

    def note(_connection, cursor, statement, *_):
        if statement.startswith("UPDATE"):
            counts.append(cursor.rowcount)

    event.listen(connection, "after_cursor_execute", note)
    return hold_unfinished(connection), counts


def test_all_that_is_unfinished_is_held_in_small_steps(ledger, small_steps):
    delivered = [ledger.deliver() for _ in range(2)]
    unfinished = [ledger.queue() for _ in range(2 * STEP + 1)]
    ledger.claim(1)

    total, counts = ledger.do(held_with_counts)

    assert total == sum(counts) == len(unfinished)
    assert max(counts) <= STEP
    assert {(ledger.row(id_).state, ledger.row(id_).reason) for id_ in unfinished} == {("held", "restore")}
    assert {ledger.see(id_).state for id_ in delivered} == {"delivered"}
    assert ledger.claim() == []


def test_of_an_empty_ledger_nothing_is_held(ledger):
    assert ledger.do(hold_unfinished) == 0
