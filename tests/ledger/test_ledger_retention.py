import os
from pathlib import Path

import pytest
from ledger_support import ANSWER, DAY_S, NOW, key, new
from sqlalchemy import select

from entrepot.ledger.entries import Acceptance, AnswerOf, Quota, Settlement
from entrepot.ledger.intake import keep_answers
from entrepot.ledger.operate import Eraser, cancel, erase, replay
from entrepot.ledger.retention import Retention, prune
from entrepot.ledger.settle import settle
from entrepot.store.ledger import attempts, idempotency_keys, queues, transactions

POLICY = Retention()


def prune_all(ledger, limit=100):
    total = 0
    while count := ledger.do(prune, POLICY, ledger.now, limit):
        total += count
    return total


def test_a_week_after_delivery_the_body_is_dropped_and_the_rest_stays(ledger):
    id_ = ledger.deliver(facts={"variables": {"id": "A1"}})
    ledger.now += 7 * DAY_S
    assert prune_all(ledger) == 0
    ledger.now += 1

    assert prune_all(ledger) == 1

    row = ledger.row(id_)
    assert (row.body, row.answer, row.facts, row.state) == (None, None, "{}", "delivered")
    assert len(ledger.see(id_).tries) == 1


def test_the_body_of_what_waits_or_is_dead_stays_until_it_is_over(ledger):
    dead, queued = ledger.die(), ledger.queue()
    ledger.now += 30 * DAY_S

    assert prune_all(ledger) == 0
    assert ledger.row(dead).body == ledger.row(queued).body == new().body
    assert ledger.do(replay, [dead], ledger.now) == 1


def test_three_months_after_the_end_nothing_is_left(ledger):
    ledger.deliver()
    ledger.die()
    ledger.do(cancel, ledger.queue(), None, ledger.now)
    ledger.now += 90 * DAY_S + 1

    prune_all(ledger)

    assert [ledger.count(table) for table in (transactions, attempts, queues)] == [0, 0, 0]


def test_a_dead_one_that_others_follow_stays_as_long_as_they_do(ledger):
    head = ledger.die(order_key="k")
    follower = ledger.queue(order_key="k")
    ledger.now += 91 * DAY_S

    assert prune_all(ledger) == 0
    assert ledger.see(follower).follows == head
    ledger.do(cancel, follower, None, ledger.now)
    assert prune_all(ledger) == 1
    assert ledger.see(head) is None


def test_a_step_forgets_so_many_at_most(ledger):
    ledger.accept(*[Acceptance(new(), Quota()) for _ in range(7)])
    for lease in ledger.claim():
        ledger.settle(lease)
    ledger.now += 8 * DAY_S

    assert [ledger.do(prune, POLICY, ledger.now, 3) for _ in range(4)] == [3, 3, 1, 0]


def test_a_key_is_forgotten_when_it_has_expired(ledger):
    ledger.bring(when="never", key=key())
    ledger.do(keep_answers, [AnswerOf(key().digest, ANSWER)], ledger.now)
    ledger.bring(when="never", key=key("later", expires_at=NOW + 2 * DAY_S))
    ledger.now += DAY_S + 1

    assert prune_all(ledger) == 1
    assert ledger.count(idempotency_keys) == 1


def test_what_a_wrong_clock_has_put_off_is_due_now(ledger):
    ledger.now += 400 * DAY_S
    id_ = ledger.queue(due_at=ledger.now)
    ledger.now = NOW

    assert ledger.claim() == []
    assert prune_all(ledger) == 1
    assert [lease.id for lease in ledger.claim()] == [id_]


def test_space_is_given_back(ledger, tmp_path):
    if ledger.database.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL gives space back by itself")
    ledger.accept(*[Acceptance(new(body=os.urandom(40_000)), Quota()) for _ in range(1500)])
    leases = ledger.claim(1500)
    ledger.do(settle, [Settlement(lease.seq, lease.token, "delivered", "yes") for lease in leases], ledger.now)
    full = _size(ledger)
    ledger.now += 8 * DAY_S

    prune_all(ledger, 500)

    assert full > 60_000_000
    assert _size(ledger) < 20_000_000


def _size(ledger):
    with ledger.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    return Path(ledger.database.url.database).stat().st_size


def texts(ledger, id_):
    row = ledger.row(id_)
    return [row.body, row.answer, row.facts, row.problem, row.target, row.memory]


ERASED = [None, None, "{}", None, "(erased)", None]


def test_a_partners_finished_transactions_are_erased(ledger):
    delivered, dead, other = ledger.deliver(), ledger.die(), ledger.deliver(partner="another")
    queued = ledger.queue()

    assert ledger.do(erase, "azure", now=ledger.now, limit=100) == 2

    assert texts(ledger, delivered) == texts(ledger, dead) == ERASED
    assert ledger.row(other).body is not None
    assert ledger.row(queued).body is not None
    assert ledger.do(erase, "azure", now=ledger.now, limit=100) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "a@b.example"), ("number", "7"), ("lines.product", "X2"), ("address.city", "Lyon"), ("id", "A1")],
)
def test_what_has_a_value_in_a_field_is_erased(ledger, field, value):
    body = b'{"email":"a@b.example","number":7,"lines":[{"product":"X1"},{"product":"X2"}],"address":{"city":"Lyon"}}'
    found = ledger.deliver(body=body, facts={"variables": {"id": "A1"}})
    others = [ledger.deliver(body=other) for other in (b'{"email":"other"}', b"no json", b"", b'["a@b.example"]')]

    assert ledger.do(erase, None, (field, value), now=ledger.now, limit=100) == 1

    assert texts(ledger, found) == ERASED
    assert all(ledger.row(other).body is not None for other in others)


def test_erasing_goes_on_where_it_stopped(ledger):
    for number in range(7):
        ledger.deliver(body=b'{"n":%d}' % (number % 2))
    eraser = Eraser("azure", ("n", "1"))
    steps = []
    while not eraser.is_done:
        steps.append(ledger.do(eraser.step, ledger.now, 2))

    assert sum(steps) == 3
    assert len(steps) == 4
    with ledger.database.reading() as session:
        bodies = session.connection().execute(select(transactions.c.body)).scalars().all()
    assert bodies.count(None) == 3


def test_what_was_erased_is_not_replayed(ledger):
    dead = ledger.die()
    ledger.do(erase, "azure", now=ledger.now, limit=100)

    assert ledger.do(replay, [dead], ledger.now) == 0
