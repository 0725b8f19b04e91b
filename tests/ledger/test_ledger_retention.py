import os
import random
from pathlib import Path

import pytest
from ledger_support import ANSWER, DAY_S, NOW, PLAN, attempt, key, new
from sqlalchemy import select

from entrepot.chassis.shared import SharedState
from entrepot.courier.books import FREED_PAGES, SPARE_PAGES
from entrepot.ledger.codec import MAX_ANSWER_BYTES
from entrepot.ledger.desk import LedgerDesk
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    AnswerOf,
    GoOn,
    KeptAnswer,
    Memory,
    PlanText,
    Quota,
    Refused,
    Replayed,
    Settlement,
)
from entrepot.ledger.keys import keep_answers
from entrepot.ledger.operate import Eraser, cancel, replay, skip
from entrepot.ledger.retention import Retention, prune
from entrepot.ledger.settle import remember, settle
from entrepot.store.audit import Actor
from entrepot.store.ledger import attempts, idempotency_keys, plans, queues, transactions

POLICY = Retention()
ZORA = KeptAnswer(201, b"x-name: zora\r\n", b'{"data":{"name":"zora"}}')


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


def test_of_a_long_target_what_tells_it_stays_with_the_rest(ledger):
    id_ = ledger.deliver(target=f"POST /v1/orders?{'x' * 8000}")
    ledger.now += 7 * DAY_S + 1

    prune_all(ledger)

    assert ledger.row(id_).target == f"POST /v1/orders?{'x' * 8000}"[:256]


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
    assert ledger.see(follower).follows.id == head
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


def lost_while_the_clock_was_wrong(ledger, rest_s):
    """Return what a lost courier left, under a clock a year ahead, to rest for *rest_s*; the clock is right again."""
    ledger.now += 365 * DAY_S
    id_ = ledger.queue(kind="update", accepted_at=ledger.now, due_at=ledger.now, expires_at=ledger.now + 3 * DAY_S)
    (lease,) = ledger.claim()
    ledger.do(remember, [Memory(lease.seq, lease.token, {}, ledger.now + rest_s)], ledger.now)
    ledger.now = NOW
    for _ in range(3):
        ledger.reclaim()
        ledger.now += 31
    assert ledger.row(id_).state == "waiting"
    return id_


def test_what_rests_until_a_moment_of_a_wrong_clock_is_due_now(ledger):
    id_ = lost_while_the_clock_was_wrong(ledger, 130.0)

    assert prune_all(ledger) == 1

    (lease,) = ledger.claim()
    assert (lease.id, lease.applied, lease.rests_until) == (id_, "unknown", 0.0)


def test_what_was_given_back_to_rest_until_a_moment_of_a_wrong_clock_is_due_now(ledger):
    id_ = lost_while_the_clock_was_wrong(ledger, 130.0)
    ledger.now += 31 * DAY_S
    (lease,) = ledger.claim()
    far = lease.rests_until
    ledger.settle(lease, "waiting", "unknown", attempt=None, due_at=far, rests_until=far)

    assert prune_all(ledger) == 1

    assert [lease.id for lease in ledger.claim()] == [id_]


def test_what_rests_for_its_upstream_goes_on_resting(ledger):
    id_ = ledger.queue(kind="update")
    (lease,) = ledger.claim()
    ledger.settle(lease, "waiting", "unknown", attempt=None, due_at=NOW + 20 * DAY_S, rests_until=NOW + 20 * DAY_S)

    assert prune_all(ledger) == 0

    assert (ledger.row(id_).due_at, ledger.row(id_).rests_until) == (NOW + 20 * DAY_S, NOW + 20 * DAY_S)


@pytest.mark.slow
def test_space_is_given_back(ledger, tmp_path):
    if ledger.database.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL gives space back by itself")
    ledger.accept(*[Acceptance(new(body=os.urandom(40_000)), Quota()) for _ in range(1500)])
    leases = ledger.claim(1500)
    ledger.do(settle, [Settlement(lease.seq, lease.token, "delivered", "yes") for lease in leases], ledger.now)
    full = _size(ledger)
    ledger.now += 8 * DAY_S

    prune_all(ledger, 500)
    while ledger.database.give_back(FREED_PAGES, spare=SPARE_PAGES):
        pass

    assert full > 60_000_000
    assert _size(ledger) < 20_000_000


def _size(ledger):
    with ledger.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    return Path(ledger.database.url.database).stat().st_size


def erase(connection, partner=None, match=None, *, limit):
    """Erase in one transaction, and return how many were."""
    eraser, count = Eraser(partner, match), 0
    while not eraser.is_done:
        count += eraser.step(connection, limit)
    return count


def texts(ledger, id_):
    row = ledger.row(id_)
    return [row.body, row.answer, row.facts, row.problem, row.target, row.memory]


ERASED = [None, None, "{}", None, "(erased)", None]


def test_a_partners_finished_transactions_are_erased(ledger):
    delivered, dead, other = ledger.deliver(), ledger.die(), ledger.deliver(partner="another")
    queued = ledger.queue()

    assert ledger.do(erase, "azure", limit=100) == 2

    assert texts(ledger, delivered) == texts(ledger, dead) == ERASED
    assert ledger.row(other).body is not None
    assert ledger.row(queued).body is not None
    assert ledger.do(erase, "azure", limit=100) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "a@b.example"), ("number", "7"), ("lines.product", "X2"), ("address.city", "Lyon"), ("id", "A1")],
)
def test_what_has_a_value_in_a_field_is_erased(ledger, field, value):
    body = b'{"email":"a@b.example","number":7,"lines":[{"product":"X1"},{"product":"X2"}],"address":{"city":"Lyon"}}'
    found = ledger.deliver(body=body, facts={"variables": {"id": "A1"}})
    others = [ledger.deliver(body=other) for other in (b'{"email":"other"}', b"no json", b"", b'["a@b.example"]')]

    assert ledger.do(erase, None, (field, value), limit=100) == 1

    assert texts(ledger, found) == ERASED
    assert all(ledger.row(other).body is not None for other in others)


def test_erasing_goes_on_where_it_stopped(ledger):
    for number in range(7):
        ledger.deliver(body=b'{"n":%d}' % (number % 2))
    eraser = Eraser("azure", ("n", "1"))
    steps = []
    while not eraser.is_done:
        steps.append(ledger.do(eraser.step, 2))

    assert sum(steps) == 3
    assert len(steps) == 4
    with ledger.database.reading() as session:
        bodies = session.connection().execute(select(transactions.c.body)).scalars().all()
    assert bodies.count(None) == 3


def test_what_was_erased_is_not_replayed(ledger):
    dead = ledger.die()
    ledger.do(erase, "azure", limit=100)

    assert ledger.do(replay, [dead], ledger.now) == 0


def everything(ledger):
    """Return all that stands in the tables of the ledger, as one text."""
    with ledger.database.reading() as session:
        connection = session.connection()
        rows = [connection.execute(select(table)).all() for table in (transactions, attempts, idempotency_keys)]
    return str(rows)


def keep(ledger, name="k", answer=ZORA, **values):
    """Let a direct write be answered whose key is *name*."""
    ledger.bring(when="never", key=key(name), **values)
    ledger.do(keep_answers, [AnswerOf(key(name).digest, answer)], ledger.now)


def test_nothing_of_what_was_erased_is_left_in_any_table(ledger):
    facts = {"variables": {"id": "zora"}, "query": "q=zora", "fields": "x-name: zora\r\n"}
    told = {"target": "POST /v1/zora?q=zora", "facts": facts, "body": b'{"name":"zora"}', "memory": {"name": "zora"}}
    ledger.queue(**told)
    (lease,) = ledger.claim()
    ledger.settle(lease, "dead", "no", attempt=attempt("record", detail="no zora"), problem={"d": "zora"}, answer=ZORA)
    ledger.queue(**told, order_key="k")
    (lease,) = ledger.claim()
    ledger.settle(lease, answer=ZORA, attempt=attempt(detail="zora"))
    keep(ledger)
    assert everything(ledger).count("zora") > 10

    assert ledger.do(erase, "azure", limit=100) == 3

    assert "zora" not in everything(ledger)
    assert ledger.bytes("azure") == (0, 0, 0)


def test_a_repetition_of_an_erased_key_is_no_second_request_and_tells_nothing_but_the_status(ledger):
    direct = ledger.bring(when="never", key=key())
    ledger.do(keep_answers, [AnswerOf(key().digest, ZORA)], ledger.now)
    queued = ledger.queue(key=key("queued"))
    ledger.settle(ledger.claim()[0])

    assert ledger.do(erase, "azure", limit=100) == 2

    ledger.now += 3600
    assert ledger.bring(when="never", key=key()) == Replayed(direct.id, KeptAnswer(201, gone="erased"))
    assert ledger.bring(when="always", key=key()) == Replayed(direct.id, KeptAnswer(201, gone="erased"))
    assert ledger.bring(key=key("queued")) == Accepted(queued, replayed=True)
    assert ledger.bring(when="never", key=key(request="other")) == Refused("mismatch")
    assert ledger.count() == 1


def test_a_late_answer_is_not_kept_beside_what_was_queued_in_its_place(ledger):
    ledger.bring(when="never", key=key())
    ledger.now += 31
    queued = ledger.queue(key=key(), due_at=ledger.now)

    ledger.do(keep_answers, [AnswerOf(key().digest, ZORA)], ledger.now)

    assert "zora" not in everything(ledger)
    assert ledger.bring(key=key()) == Accepted(queued, replayed=True)
    ledger.settle(ledger.claim()[0], answer=ZORA)
    assert ledger.do(erase, "azure", limit=100) == 1
    assert "zora" not in everything(ledger)


def test_an_erased_key_whose_time_is_over_is_free_again(ledger):
    keep(ledger)
    ledger.do(erase, "azure", limit=100)
    ledger.now += DAY_S + 1

    assert isinstance(ledger.bring(when="never", key=key(expires_at=ledger.now + DAY_S)), GoOn)
    assert prune_all(ledger) == 0


@pytest.mark.parametrize("body", [b'{"data":{"email":"a@b"}}', b'{"email":"a@b"}', b'[{"email":"a@b"}]'])
def test_an_answer_that_was_kept_is_erased_for_what_it_says(ledger, body):
    keep(ledger, "a", KeptAnswer(200, b"", body))
    keep(ledger, "b", KeptAnswer(200, b"", b'{"data":{"email":"c@d"}}'))
    keep(ledger, "c", KeptAnswer(200, b"", b"\xff no json"))

    assert ledger.do(erase, None, ("email", "a@b"), limit=100) == 1

    assert "a@b" not in everything(ledger)
    assert "c@d" in everything(ledger)


def test_a_transaction_is_erased_for_what_it_was_answered(ledger):
    id_ = ledger.queue(body=b"{}")
    ledger.settle(ledger.claim()[0], answer=KeptAnswer(200, b"", b'{"email":"a@b"}'))

    assert ledger.do(erase, None, ("email", "a@b"), limit=100) == 1

    assert texts(ledger, id_) == ERASED


def test_what_another_partner_keeps_and_what_is_in_work_is_not_erased(ledger):
    keep(ledger, "theirs", partner="another")
    ledger.bring(when="never", key=key("mine"))

    assert ledger.do(erase, "azure", limit=100) == 0

    assert ledger.bring(when="never", key=key("theirs"), partner="another").answer == ZORA
    assert ledger.bring(when="never", key=key("mine")) == Refused("in-work")


def test_what_was_erased_is_not_in_the_files_of_the_database(ledger, tmp_path):
    if ledger.database.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL frees what was deleted when it vacuums")
    name = b"somebody-to-be-forgotten"
    ledger.deliver(body=b'{"name":"%b"}' % name)
    ledger.deliver(body=b'{"name":"%b","more":"%b"}' % (name, b"." * 50_000))
    keep(ledger, answer=KeptAnswer(201, b"", name))
    path = Path(ledger.database.url.database)
    assert any(name in each.read_bytes() for each in path.parent.glob("*.db*"))

    shared = SharedState.open(tmp_path / "shared")
    desk = LedgerDesk(ledger.database, shared.counter("ledger"), ledger.database.now)
    actor = Actor("a test", "command", "an-operation-id")
    list(desk.erase(partner="azure", match=None, actor=actor))
    shared.close()

    assert [each.name for each in path.parent.glob("*.db*") if name in each.read_bytes()] == []


# -- how much is kept


def test_the_oldest_goes_first_when_too_much_of_a_partner_is_kept(ledger):
    policy = Retention(kept_bytes=5_000)
    delivered = []
    for _ in range(6):
        ledger.now += 1
        delivered.append(ledger.deliver(body=b"." * 1000))
    other = ledger.deliver(partner="another", body=b"." * 4000)

    while ledger.do(prune, policy, ledger.now, 2):
        pass

    left = [id_ for id_ in delivered if ledger.row(id_).body is not None]
    assert left == delivered[-len(left) :]
    assert 3 <= len(left) <= 4
    assert ledger.bytes("azure")[2] <= 5_000
    assert ledger.row(other).body is not None
    assert ledger.see(delivered[0]).state == "delivered"


def test_kept_answers_lose_what_they_say_when_there_is_too_much_of_a_partner(ledger):
    answer = KeptAnswer(200, b"", b"." * 1000)
    for number in range(6):
        keep(ledger, str(number), answer, partner="azure")

    assert ledger.do(prune, Retention(kept_bytes=5_000), ledger.now, 100) == 2

    replayed = [ledger.bring(when="never", key=key(str(number))).answer for number in range(6)]
    assert sorted(replayed, key=str).count(answer) == 4
    assert replayed.count(KeptAnswer(200, gone="room")) == 2
    assert ledger.bytes("azure")[2] <= 4_500


def test_only_the_status_of_an_answer_is_kept_when_there_is_no_room(ledger):
    answer = KeptAnswer(200, b"", b"." * 1000)
    for number in range(4):
        ledger.bring(when="never", key=key(str(number)))
        ledger.do(keep_answers, [AnswerOf(key(str(number)).digest, answer)], ledger.now, 2_000)

    replayed = [ledger.bring(when="never", key=key(str(number))).answer for number in range(4)]
    assert replayed == [answer, answer, KeptAnswer(200, gone="room"), KeptAnswer(200, gone="room")]
    assert ledger.bytes("azure")[2] < 3_000


def test_only_the_status_of_a_very_long_answer_is_kept(ledger):
    long = KeptAnswer(200, b"", b"." * (MAX_ANSWER_BYTES + 1))
    keep(ledger, "k", long)
    id_ = ledger.queue()
    ledger.settle(ledger.claim()[0], answer=long)

    assert ledger.bring(when="never", key=key()).answer == ledger.see(id_).answer == KeptAnswer(200, gone="room")


def test_the_queues_say_what_is_in_the_tables_whatever_happens(ledger):
    chance = random.Random(7)
    ids = []
    for number in range(60):
        ledger.now += 3600
        ids.append(ledger.queue(body=b"." * chance.randrange(500), partner=chance.choice(["azure", "deco"])))
        keep(ledger, f"{number}", KeptAnswer(200, b"", b"." * chance.randrange(500)), partner="azure")
        for lease in ledger.claim():
            state = chance.choice(["delivered", "dead", "waiting"])
            ledger.settle(lease, state, "no", answer=None if state == "waiting" else ZORA)
        ledger.do(chance.choice([replay, skip]), chance.sample(ids, min(4, len(ids))), ledger.now)
        ledger.do(cancel, chance.choice(ids), None, ledger.now)
        if number % 10 == 9:
            ledger.do(erase, "azure", ("nothing", "x"), limit=9)
            ledger.do(prune, Retention(kept_bytes=4_000, bodies_s=DAY_S, rows_s=2 * DAY_S), ledger.now, 5)
        assert ledger.bytes("azure") == ledger.counted("azure")
        assert ledger.bytes("deco") == ledger.counted("deco")
    ledger.do(erase, "azure", limit=1000)
    assert ledger.bytes("azure") == ledger.counted("azure")
    assert ledger.bytes("azure")[1:] == (0, 0)


def test_keys_that_are_still_needed_keep_no_others_from_being_forgotten(ledger):
    for number in range(5):
        ledger.queue(key=key(f"waiting{number}"))
    ledger.bring(when="never", key=key("over", expires_at=NOW + DAY_S + 1))
    ledger.now += 2 * DAY_S

    prune_all(ledger, limit=2)

    assert ledger.count(idempotency_keys) == 5


@pytest.mark.parametrize("match", [None, ("email", "zora@example.com")])
def test_what_fits_and_is_not_over_is_left_and_counted(ledger, match):
    ledger.deliver(body=b'{"email":"zora@example.com"}')
    ledger.queue(body=b'{"email":"zora@example.com"}')
    ledger.queue(partner="another", body=b'{"email":"grace@example.com"}')
    eraser = Eraser("azure", match)

    erased = 0
    while not eraser.is_done:
        erased += ledger.do(eraser.step, 1)

    assert (erased, eraser.left) == (1, 1)


def test_what_has_a_value_in_its_query_is_erased(ledger):
    id_ = ledger.deliver(kind="relay", target="POST /v1/pay?a=1&email=zora%40example.com")
    ledger.deliver(kind="relay", target="POST /v1/pay?email=grace%40example.com")

    assert ledger.do(erase, None, ("email", "zora@example.com"), limit=100) == 1
    assert texts(ledger, id_) == ERASED


def test_plans_that_no_transaction_names_any_more_are_dropped_in_small_steps(ledger):
    for number in range(5):
        ledger.deliver(plan=PlanText(f"{number}" * 64, "{}"))
    used = ledger.queue()
    ledger.now += 100 * DAY_S

    steps = [ledger.do(prune, Retention(), ledger.now, 2) for _ in range(6)]

    # Bodies, rows, and plans: two of each.
    assert [max(steps), steps[-1]] == [6, 0]
    with ledger.database.reading() as session:
        assert session.scalars(select(plans.c.digest)).all() == [ledger.row(used).plan]


def test_a_plan_that_was_dropped_comes_again_with_new_work(ledger):
    ledger.deliver()
    ledger.now += 100 * DAY_S
    while ledger.do(prune, Retention(), ledger.now, 100):
        pass

    ledger.queue(accepted_at=ledger.now, due_at=ledger.now)

    assert [lease.plan for lease in ledger.claim()] == [PLAN]
