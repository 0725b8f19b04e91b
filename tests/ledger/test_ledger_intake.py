import pytest
from ledger_support import ANSWER, DAY_S, NOW, PLAN, attempt, key, new
from sqlalchemy import select

from entrepot.ledger.acceptance import accept
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    AnswerOf,
    GoOn,
    LeaseOf,
    MemoryOf,
    PlanText,
    Quota,
    Refused,
    Replayed,
    new_id,
)
from entrepot.ledger.keys import keep_answers, keep_memories, let_go
from entrepot.ledger.operate import cancel, hold, hold_client, release_client, replay
from entrepot.ledger.recovery import hasten
from entrepot.ledger.retention import Retention, prune
from entrepot.store.ledger import idempotency_keys, plans, transactions


def test_what_is_accepted_is_there_as_it_was_brought(ledger):
    id_ = ledger.queue(facts={"variables": {"id": "A1"}, "values": {"contact": 14}}, body=b"\xff\x00")

    (lease,) = ledger.claim()
    assert (lease.id, lease.facts, lease.body) == (
        id_,
        {"variables": {"id": "A1"}, "values": {"contact": 14}},
        b"\xff\x00",
    )
    assert (lease.plan, lease.kind, lease.client, lease.applied, lease.attempts) == (
        PLAN,
        "create",
        "azure-shop",
        "no",
        0,
    )
    assert (lease.accepted_at, lease.expires_at, lease.memory) == (NOW, NOW + 3 * DAY_S, None)


def test_a_batch_of_hundreds_is_accepted_in_its_order(ledger):
    items = [Acceptance(new(body=str(number).encode()), Quota()) for number in range(337)]

    admissions = ledger.accept(*items)

    assert admissions == [Accepted(item.transaction.id, ahead=ahead) for ahead, item in enumerate(items)]
    assert [lease.body for lease in ledger.claim(1000)] == [str(number).encode() for number in range(337)]


def test_a_plan_is_kept_once_however_often_it_is_brought(ledger):
    other = PlanText("d" * 64, "{}")
    ledger.accept(*[Acceptance(new(plan=plan), Quota()) for plan in (PLAN, other, PLAN)])
    ledger.accept(Acceptance(new(), Quota()))

    assert ledger.count(plans) == 2


def test_the_same_request_with_the_same_key_is_one_transaction(ledger):
    first = ledger.bring(key=key())
    again = ledger.bring(key=key())

    assert again == Accepted(first.id, replayed=True)
    assert ledger.count() == 1


def test_two_of_one_batch_with_the_same_key_are_one_transaction(ledger):
    first, second = ledger.accept(Acceptance(new(), Quota(), key()), Acceptance(new(), Quota(), key()))

    assert second == Accepted(first.id, replayed=True)
    assert ledger.count() == 1


def test_a_key_that_is_brought_with_another_request_is_refused(ledger):
    ledger.bring(key=key())

    assert ledger.bring(key=key(request="other")) == Refused("mismatch")
    assert ledger.count() == 1


def test_a_key_whose_direct_request_is_in_work_is_refused(ledger):
    first = ledger.bring(when="never", key=key())

    assert isinstance(first, GoOn)
    assert ledger.bring(when="never", key=key()) == Refused("in-work")
    assert ledger.bring(when="always", key=key()) == Refused("in-work")
    assert ledger.count() == 0


def test_the_lease_of_a_key_counts_from_when_it_is_noted(ledger):
    waited = {"when": "never", "accepted_at": NOW - 4, "key": key(leased_until=NOW + 26)}

    first = ledger.bring(**waited)

    assert first.leased_until == NOW + 30
    ledger.now += 29
    assert ledger.bring(when="never", key=key()) == Refused("in-work")
    ledger.now += 2
    assert ledger.bring(when="never", key=key()) == GoOn(first.id, again=True)


def test_a_key_whose_direct_request_was_answered_gives_the_answer_again(ledger):
    first = ledger.bring(when="never", key=key())
    ledger.do(keep_answers, [AnswerOf(key().digest, ANSWER)], ledger.now)

    assert ledger.bring(when="never", key=key()) == Replayed(first.id, ANSWER)
    assert ledger.bring(when="always", key=key()) == Replayed(first.id, ANSWER)


def test_an_answer_of_any_bytes_comes_back_as_it_was(ledger):
    answer = type(ANSWER)(200, b"x-name: J\xf6rg\r\n", b"\x89PNG\xff")
    ledger.bring(when="never", key=key())
    ledger.do(keep_answers, [AnswerOf(key().digest, answer)], ledger.now)

    assert ledger.bring(when="never", key=key()).answer == answer


def test_a_key_that_came_to_nothing_is_free_again(ledger):
    first = ledger.bring(when="never", key=key())
    ledger.do(let_go, [LeaseOf(key().digest, NOW + 30, None)], ledger.now)

    second = ledger.bring(when="never", key=key(request="other"))

    assert second == GoOn(second.id)
    assert second.id != first.id


def test_the_key_of_queued_work_is_not_freed(ledger):
    first = ledger.bring(key=key())
    ledger.do(let_go, [LeaseOf(key().digest, NOW + 30, None)], ledger.now)

    assert ledger.bring(key=key()) == Accepted(first.id, replayed=True)


def test_a_direct_request_whose_worker_was_lost_goes_on_as_the_same_transaction(ledger):
    first = ledger.bring(when="never", key=key())
    ledger.do(keep_memories, [MemoryOf(key().digest, NOW + 30, {"write_date": "then"})], ledger.now)
    ledger.now += 31

    again = ledger.bring(when="never", key=key(leased_until=NOW + 61))

    assert again == GoOn(first.id, again=True, memory={"write_date": "then"})
    assert ledger.bring(when="never", key=key()) == Refused("in-work")


def test_a_direct_request_whose_worker_was_lost_is_queued_as_the_same_transaction(ledger):
    first = ledger.bring(when="never", key=key())
    ledger.do(keep_memories, [MemoryOf(key().digest, NOW + 30, {"write_date": "then"})], ledger.now)
    ledger.now += 31

    again = ledger.bring(when="always", key=key())

    assert again == Accepted(first.id, state="waiting")
    (lease,) = ledger.claim()
    assert (lease.id, lease.applied, lease.memory) == (first.id, "unknown", {"write_date": "then"})
    assert ledger.bring(key=key()) == Accepted(first.id, replayed=True)


@pytest.mark.parametrize(
    ("handler", "item"),
    [
        pytest.param(let_go, LeaseOf(key().digest, NOW + 30, None), id="nothing came of it"),
        pytest.param(let_go, LeaseOf(key().digest, NOW + 30, NOW + 31), id="nobody knows what came of it"),
        pytest.param(keep_memories, MemoryOf(key().digest, NOW + 30, {"write_date": "late"}), id="what it noted"),
    ],
)
def test_who_lost_a_key_takes_nothing_from_who_has_it_now(ledger, handler, item):
    first = ledger.bring(when="never", key=key())
    ledger.now += 31
    second = ledger.bring(when="never", key=key())
    ledger.do(keep_memories, [MemoryOf(key().digest, second.leased_until, {"write_date": "then"})], ledger.now)

    ledger.do(handler, [item], ledger.now)

    assert ledger.bring(when="never", key=key()) == Refused("in-work")
    ledger.now += 31
    third = ledger.bring(when="never", key=key())
    assert third == GoOn(first.id, again=True, memory={"write_date": "then"})


def lost_change(ledger, **values):
    """Lose the worker that sent a change directly, and return what becomes of the same request half a minute later."""
    ledger.bring(when="behind", kind="update", key=key(), rest_s=20.0, **values)
    ledger.now += 31
    return {"kind": "update", "key": key(leased_until=ledger.now + 30), "rest_s": 20.0, "due_at": ledger.now, **values}


def hold_back(ledger, how):
    if how == "hold":
        ledger.do(hold, "erp", "maintenance", "", None, NOW)
    elif how == "behind":
        ledger.queue(order_key="k")
    return "always" if how == "at once" else "behind"


@pytest.mark.parametrize("how", ["directly", "at once", "hold", "behind"])
def test_a_change_whose_worker_was_lost_rests_however_it_goes_on(ledger, how):
    again = lost_change(ledger, order_key="k")
    when = hold_back(ledger, how)

    accepted = ledger.bring(when=when, **again)

    assert (accepted.state, accepted.due_at) == ("waiting", ledger.now + 20)
    found = ledger.row(accepted.id)
    assert (found.state, found.applied, found.rests_until) == ("waiting", "unknown", ledger.now + 20)
    assert found.due_at == (None if how == "behind" else ledger.now + 20)
    assert accepted.id not in [lease.id for lease in ledger.claim()]


def test_what_does_not_rest_goes_on_directly_when_its_worker_was_lost(ledger):
    first = ledger.bring(when="behind", key=key())
    ledger.now += 31

    assert ledger.bring(when="behind", key=key(leased_until=NOW + 61)) == GoOn(first.id, again=True)


def test_what_is_under_way_is_not_sent_beside_itself_whatever_becomes_of_its_hold(ledger):
    tried = (attempt("transient", status=504),)
    late = new(kind="relay", state="waiting", applied="unknown", due_at=NOW + 9, tried=tried, is_under_way=True)
    ledger.accept(Acceptance(late, Quota(), when="handed-over"))
    ledger.do(hold_client, "azure-shop", NOW)
    ledger.do(release_client, "azure-shop", NOW)

    assert ledger.do(hasten, ["erp"], NOW) == [0]
    assert ledger.claim() == []
    ledger.now += 9
    assert [lease.id for lease in ledger.claim()] == [late.id]


def test_what_a_held_client_brings_is_told_to_be_held(ledger):
    ledger.do(hold_client, "azure-shop", ledger.now)

    accepted = ledger.bring()

    assert accepted == Accepted(accepted.id, state="held", held_until=float("inf"))


def test_a_key_that_has_expired_counts_as_none(ledger):
    first = ledger.bring(key=key())
    ledger.settle(*ledger.claim())
    ledger.now += DAY_S + 1

    second = ledger.bring(key=key(request="other", expires_at=ledger.now + DAY_S))

    assert second == Accepted(second.id)
    assert second.id != first.id


def test_a_partner_may_have_only_so_many_waiting_over_all_upstreams(ledger):
    quota = Quota(transactions=2)
    ledger.bring(quota=quota, upstream="erp")
    ledger.bring(quota=quota, upstream="carrier")

    assert ledger.bring(quota=quota) == Refused("too-many")
    assert isinstance(ledger.bring(quota=quota, partner="other"), Accepted)


def test_the_quota_counts_what_the_same_batch_has_accepted(ledger):
    items = [Acceptance(new(), Quota(transactions=2)) for _ in range(4)]

    assert ledger.accept(*items)[2:] == [Refused("too-many")] * 2
    assert ledger.count() == 2


def test_a_partner_may_have_only_so_many_bytes_waiting(ledger):
    quota = Quota(bytes=1100)
    ledger.bring(quota=quota, body=b"x" * 1000)

    assert ledger.bring(quota=quota, body=b"x" * 100) == Refused("too-large")
    assert isinstance(ledger.bring(quota=quota, body=b""), Accepted)


def test_what_could_come_to_wait_is_refused_by_the_quota_and_what_cannot_is_not(ledger):
    full = Quota(transactions=0)

    assert ledger.bring(quota=full, when="behind", key=key()) == Refused("too-many")
    assert isinstance(ledger.bring(quota=full, when="never", key=key()), GoOn)


def test_what_is_refused_for_the_quota_does_not_take_its_key(ledger):
    assert ledger.bring(quota=Quota(transactions=0), key=key()) == Refused("too-many")

    assert ledger.bring(key=key()).replayed is False


def test_what_was_delivered_no_longer_counts(ledger):
    ledger.deliver()

    assert ledger.waiting() == {}
    assert isinstance(ledger.bring(quota=Quota(transactions=1)), Accepted)


def test_whoever_follows_waits(ledger):
    ledger.queue(order_key="k")
    follower = ledger.queue(order_key="k")
    ledger.queue(order_key="other")

    assert ledger.row(follower).due_at is None
    assert [lease.id for lease in ledger.claim()].count(follower) == 0


def test_whoever_follows_one_of_the_same_batch_waits(ledger):
    _, second = ledger.accept(*[Acceptance(new(order_key="k"), Quota()) for _ in range(2)])

    assert ledger.row(second.id).due_at is None


def test_an_auto_write_goes_directly_when_nothing_is_before_it(ledger):
    ledger.deliver(order_key="k")

    admission = ledger.bring(when="behind", order_key="k", key=key())

    assert admission == GoOn(admission.id)
    assert ledger.bring(when="behind", order_key="k", key=key()) == Refused("in-work")


@pytest.mark.parametrize("state", ["queued", "sending", "dead", "held"])
def test_an_auto_write_queues_behind_whatever_is_before_it(ledger, state):
    first = ledger.die(order_key="k") if state == "dead" else ledger.queue(order_key="k")
    if state in {"sending", "held"}:
        (lease,) = ledger.claim()
    if state == "held":
        ledger.settle(lease, "held", "unknown", reason="conflict")
    assert ledger.see(first).state == state

    admission = ledger.bring(when="behind", order_key="k")

    assert isinstance(admission, Accepted)
    assert ledger.see(admission.id).follows.id == first


def test_what_stands_under_the_other_key_is_not_overtaken(ledger):
    first = ledger.queue(order_key="former")

    second = ledger.bring(when="behind", order_key="k", other_key="former")
    third = ledger.bring(order_key="k", other_key="former")

    assert [ledger.see(each.id).follows.id for each in (second, third)] == [first, first]
    assert isinstance(ledger.bring(when="behind", order_key="k"), GoOn)
    assert ledger.bring(when="alone", order_key="k", other_key="former") == Refused("behind", NOW)


def test_when_nothing_is_left_under_the_other_key_it_counts_no_more(ledger):
    ledger.deliver(order_key="former")

    queued = ledger.bring(order_key="k", other_key="former")

    assert ledger.row(queued.id).order_key == "k"
    assert isinstance(ledger.bring(when="behind", order_key="k", other_key="former"), Accepted)
    assert isinstance(ledger.bring(when="behind", order_key="former"), GoOn)


def test_an_auto_write_without_an_order_goes_directly(ledger):
    ledger.queue(order_key=None)

    assert isinstance(ledger.bring(when="behind", order_key=None), GoOn)


def test_a_direct_write_that_came_to_no_end_becomes_the_same_transaction(ledger):
    direct = new()
    ledger.accept(Acceptance(direct, Quota(), key(), "never"))
    late = new(
        id=direct.id,
        state="waiting",
        applied="unknown",
        tried=(attempt("transient"),),
        due_at=NOW + 130,
        memory={"write_date": "then"},
    )

    (admission,) = ledger.accept(Acceptance(late, Quota(transactions=0), key(), "handed-over"))

    assert admission == Accepted(direct.id, state="waiting", due_at=NOW + 130)
    assert ledger.bring(key=key()) == Accepted(direct.id, replayed=True)
    assert ledger.claim() == []
    ledger.now += 130
    (lease,) = ledger.claim()
    assert (lease.id, lease.applied, lease.attempts, lease.memory) == (direct.id, "unknown", 1, {"write_date": "then"})


def test_a_direct_write_that_is_handed_over_twice_is_one_transaction(ledger):
    direct = new(state="waiting", applied="unknown", tried=(attempt("transient"),))
    ledger.accept(Acceptance(direct, Quota(), key(), "handed-over"))

    (second,) = ledger.accept(Acceptance(direct, Quota(), key(), "handed-over"))

    assert second == Accepted(direct.id, replayed=True, state="waiting")
    assert ledger.count() == 1


def test_a_direct_write_that_another_has_finished_is_not_handed_over(ledger):
    first = ledger.bring(when="never", key=key())
    ledger.now += 31
    ledger.bring(when="never", key=key(leased_until=NOW + 61))
    ledger.do(keep_answers, [AnswerOf(key().digest, ANSWER)], ledger.now)

    late = new(id=first.id, state="waiting", applied="unknown", tried=(attempt("transient"),))
    (admission,) = ledger.accept(Acceptance(late, Quota(), key(), "handed-over"))

    assert admission == Replayed(first.id, ANSWER)
    assert ledger.count() == 0


def test_what_a_held_client_brings_is_accepted_and_held(ledger):
    ledger.do(hold_client, "azure-shop", ledger.now)

    id_ = ledger.queue()

    sight = ledger.see(id_)
    assert (sight.state, sight.reason, sight.due_at) == ("held", "client", None)
    assert ledger.see(ledger.queue(client="another")).state == "queued"


def test_nothing_is_due_later_than_a_month_from_now(ledger):
    id_ = ledger.queue(due_at=NOW + 365 * DAY_S)

    assert ledger.row(id_).due_at == NOW + 31 * DAY_S


def test_a_batch_that_is_rolled_back_leaves_nothing(ledger):
    def break_off(connection):
        accept(connection, [Acceptance(new(), Quota(), key())], NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.do(break_off)

    with ledger.database.reading() as session:
        for table in (transactions, idempotency_keys, plans):
            assert session.connection().execute(select(table)).all() == []
    assert ledger.waiting() == {}


def test_what_is_dead_counts_for_the_bytes_of_its_partner_until_somebody_deals_with_it(ledger):
    quota = Quota(bytes=3_000)
    bad = {"body": b"." * 900, "quota": quota}
    dead = [ledger.die(**bad) for _ in range(3)]

    assert ledger.bring(**bad) == Refused("too-large")
    assert isinstance(ledger.bring(**bad, partner="another"), Accepted)
    ledger.do(cancel, dead[0], None, ledger.now)
    assert isinstance(ledger.bring(**bad), Accepted)
    assert ledger.bring(**bad) == Refused("too-large")
    assert ledger.do(replay, dead[1:2], ledger.now) == 1
    assert ledger.bring(**bad) == Refused("too-large")


def test_a_try_that_was_lost_is_listed_as_the_first(ledger):
    id_ = new_id(NOW - 40)
    ledger.bring(when="never", key=key(), id=id_)
    ledger.now += 31

    assert ledger.bring(when="always", key=key()).id == id_

    (tried,) = ledger.see(id_).tries
    assert (ledger.see(id_).attempts, tried.number, tried.code, tried.outcome) == (1, 1, "courier-lost", "transient")
    assert (tried.started_at, tried.ended_at) == (NOW - 40, NOW + 31)


@pytest.mark.parametrize("end", ["queued", "held", "dead"])
def test_a_key_outlives_its_time_as_long_as_its_transaction_is_not_over(ledger, end):
    first = ledger.die(key=key()) if end == "dead" else ledger.queue(key=key())
    if end == "held":
        ledger.do(hold_client, "azure-shop", ledger.now)
    ledger.now += 30 * DAY_S
    while ledger.do(prune, Retention(), ledger.now, 100):
        pass

    assert ledger.bring(key=key(expires_at=ledger.now + DAY_S)) == Accepted(first, replayed=True)
    assert ledger.count() == 1


@pytest.mark.parametrize("is_pruned", [False, True])
def test_the_life_of_a_key_begins_at_the_end_of_its_transaction(ledger, is_pruned):
    first = ledger.queue(key=key())
    ledger.now += 3 * DAY_S
    (lease,) = ledger.claim()
    ledger.settle(lease)
    ledger.now += DAY_S - 1
    if is_pruned:
        while ledger.do(prune, Retention(), ledger.now, 100):
            pass

    again = ledger.bring(key=key(expires_at=ledger.now + DAY_S))
    ledger.now += 2
    later = ledger.bring(key=key(expires_at=ledger.now + DAY_S))

    assert again == Accepted(first, replayed=True)
    assert later.replayed is False


def test_a_key_whose_direct_request_is_in_work_is_not_free_however_short_its_life_is(ledger):
    ledger.bring(when="never", key=key(expires_at=NOW + 5, leased_until=NOW + 60))
    ledger.now += 30
    ledger.do(prune, Retention(keys_s=5.0), ledger.now, 100)

    assert ledger.bring(when="never", key=key(expires_at=ledger.now + 5)) == Refused("in-work")


def test_what_may_not_wait_is_refused_behind_what_does(ledger):
    ledger.queue(order_key="k")

    refused = ledger.bring(when="alone", order_key="k", key=key())

    assert isinstance(refused, Refused)
    assert refused.why == "behind"
    assert isinstance(ledger.bring(when="alone", order_key="other", key=key()), GoOn), "the key is free still"


def test_what_may_not_wait_is_refused_while_its_upstream_is_held(ledger):
    ledger.do(hold, "*", "maintenance", "", NOW + 60, NOW)

    assert ledger.bring(when="alone", order_key="k") == Refused("held", NOW + 60)
