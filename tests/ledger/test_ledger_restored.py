"""After a restore all that is not finished is held, for an operator to look at; of what was dead nobody is sure."""

from dataclasses import replace

import pytest
from ledger_support import NOW, attempt
from sqlalchemy import event

from entrepot.gateway.transactions import advice
from entrepot.ledger import restored
from entrepot.ledger.entries import Memory
from entrepot.ledger.operate import cancel, replay, skip
from entrepot.ledger.restored import hold_unfinished
from entrepot.ledger.settle import remember

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


def test_what_was_dead_may_have_been_replayed_since_the_backup(ledger):
    id_ = ledger.die(kind="call", order_key="k")
    follower = ledger.queue(order_key="k")
    size = ledger.bytes("azure")

    assert ledger.do(hold_unfinished) == 1

    sight = ledger.see(id_)
    assert (sight.state, sight.reason, sight.applied, sight.finished_at) == ("dead", None, "unknown", NOW)
    assert advice(sight) == "It may have been carried out; do not send it again, ask the operator."
    assert "ask the operator" in advice(replace(ledger.see(follower), state="queued", reason=None))
    assert ledger.bytes("azure") == ledger.counted("azure") == size


def test_what_was_dead_is_not_cancelled_after_a_restore_and_may_be_skipped(ledger):
    id_ = ledger.die()
    ledger.do(hold_unfinished)

    assert [ledger.do(cancel, id_, partner, ledger.now) for partner in ("azure", None)] == ["sent", "sent"]

    assert ledger.see(id_).state == "dead"
    assert ledger.do(skip, [id_], ledger.now) == 1
    assert advice(ledger.see(id_)).startswith("It was given up and may have been carried out")


def test_what_was_dead_is_replayed_after_a_restore_as_what_may_have_been_applied(ledger):
    id_ = ledger.queue(kind="call")
    (lease,) = ledger.claim()
    ledger.do(remember, [Memory(lease.seq, lease.token, {"id": 7})], ledger.now)
    ledger.settle(lease, "dead", "no")
    ledger.do(hold_unfinished)

    assert ledger.do(replay, [id_], ledger.now) == 1

    assert ledger.see(id_).state == "waiting"
    (again,) = ledger.claim()
    assert (again.id, again.applied, again.memory) == (id_, "unknown", {"id": 7})


@pytest.mark.parametrize("applied", ["yes", "unknown"])
def test_what_is_known_of_another_dead_one_and_of_what_is_over_stays(ledger, applied):
    delivered, cancelled = ledger.deliver(), ledger.queue()
    ledger.do(cancel, cancelled, None, ledger.now)
    dead = ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease, "dead", applied, attempt=attempt("transient"))

    assert ledger.do(hold_unfinished) == 0

    known = [(ledger.see(id_).state, ledger.see(id_).applied) for id_ in (delivered, cancelled, dead)]
    assert known == [("delivered", "yes"), ("cancelled", "no"), ("dead", applied)]


def test_many_dead_ones_are_changed_in_small_steps_and_a_second_time_nothing_is(ledger, small_steps):
    dead = [ledger.die() for _ in range(2 * STEP + 1)]
    waits = ledger.queue()

    total, counts = ledger.do(held_with_counts)
    again, counts_again = ledger.do(held_with_counts)

    assert total == again == 1
    assert sum(counts) == len(dead) + 1
    assert max(counts) <= STEP
    assert sum(counts_again) == 1
    assert {(ledger.row(id_).state, ledger.row(id_).applied) for id_ in dead} == {("dead", "unknown")}
    assert (ledger.row(waits).state, ledger.row(waits).reason) == ("held", "restore")
