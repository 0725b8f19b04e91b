import random
from dataclasses import replace

import pytest
from ledger_support import ANSWER, DAY_S, NOW, Ledger, attempt, new
from sqlalchemy import select

from entrepot.ledger.entries import Acceptance, Finished, Memory, Quota, Settlement
from entrepot.ledger.operate import cancel, hold_client, release_client, replay, skip
from entrepot.ledger.restored import hold_unfinished
from entrepot.ledger.settle import finish, remember, settle
from entrepot.store.ledger import attempts, transactions

PROBLEM = {"title": "no such product", "status": 422}


def claimed(ledger: Ledger, **values):
    ledger.queue(**values)
    (lease,) = ledger.claim()
    return lease


def test_what_was_handed_over_and_ended_well_is_delivered_and_the_next_goes(ledger):
    tried = attempt("transient", status=504, code="upstream-timeout")
    id_ = ledger.queue(order_key="k", state="waiting", applied="unknown", tried=(tried,), due_at=ledger.now + 60)
    follower = ledger.queue(order_key="k")
    ended = attempt(ended_at=NOW + 9)

    assert ledger.do(finish, [Finished(id_, ended, ANSWER)], ledger.now) == [True]
    sight = ledger.see(id_)
    assert (sight.state, sight.applied, sight.answer) == ("delivered", "yes", ANSWER)
    assert (sight.attempts, sight.tries) == (1, (replace(ended, number=1),))
    assert [lease.id for lease in ledger.claim()] == [follower]
    assert ledger.do(finish, [Finished(id_, ended, ANSWER)], ledger.now) == [False]


def test_what_was_handed_over_and_ended_badly_waits_and_says_how_it_ended(ledger):
    tried = attempt("transient", status=504, code="upstream-timeout")
    id_ = ledger.queue(state="waiting", applied="unknown", tried=(tried,), due_at=ledger.now + 60)
    ended = attempt("transient", ended_at=NOW + 9, status=502, code="upstream-unavailable", detail="closed")

    assert ledger.do(finish, [Finished(id_, ended)], ledger.now) == [False]

    sight = ledger.see(id_)
    assert (sight.state, sight.attempts, sight.tries) == ("waiting", 1, (replace(ended, number=1),))


def handed_over(ledger, **values):
    tried = attempt("transient", status=504, code="upstream-timeout")
    usual = {"state": "waiting", "applied": "unknown", "tried": (tried,), "due_at": ledger.now + 60, "kind": "call"}
    return ledger.queue(**(usual | values))


REFUSED = attempt("transient", ended_at=NOW + 9, status=429, code="upstream-refused")


def test_what_was_handed_over_and_was_not_applied_is_tried_as_if_it_had_not_been_sent(ledger):
    id_ = handed_over(ledger)

    ledger.do(finish, [Finished(id_, REFUSED, due_at=ledger.now + 60, again_at=ledger.now + 5)], ledger.now)

    found = ledger.row(id_)
    assert (found.state, found.applied, found.due_at, found.rests_until) == ("waiting", "no", ledger.now + 5, None)
    assert ledger.see(id_).tries == (replace(REFUSED, number=1),)


def test_what_was_not_applied_and_follows_another_waits_for_its_turn(ledger):
    ledger.queue(order_key="k")
    id_ = handed_over(ledger, order_key="k")

    ledger.do(finish, [Finished(id_, REFUSED, due_at=ledger.now + 60, again_at=ledger.now)], ledger.now)

    assert (ledger.row(id_).applied, ledger.row(id_).due_at) == ("no", None)


def test_a_late_refusal_says_nothing_of_what_a_courier_has_done_since(ledger):
    id_, due_at = handed_over(ledger), ledger.now + 60
    ledger.now += 61
    (lease,) = ledger.claim()
    late = Finished(id_, REFUSED, due_at=due_at, again_at=ledger.now)
    ledger.do(finish, [late], ledger.now)
    assert ledger.row(id_).state == "sending"
    ledger.settle(lease, "waiting", "unknown", attempt=None, due_at=ledger.now + 30)

    ledger.do(finish, [late], ledger.now)

    assert (ledger.row(id_).applied, ledger.row(id_).due_at) == ("unknown", ledger.now + 30)


def hold_it(ledger, reason):
    if reason == "client":
        ledger.do(hold_client, "azure-shop", ledger.now)
    elif reason == "restore":
        ledger.do(hold_unfinished)
    else:
        ledger.now += 60
        (lease,) = ledger.claim()
        ledger.settle(lease, "held", "unknown", attempt=None, reason=reason)


@pytest.mark.parametrize("reason", ["client", "restore", "upstream"])
def test_what_was_handed_over_and_held_is_delivered_too_when_it_ended_well(ledger, reason):
    id_ = handed_over(ledger, order_key="k")
    follower = ledger.queue(order_key="k", client="another")
    hold_it(ledger, reason)
    assert (ledger.row(id_).state, ledger.row(id_).reason) == ("held", reason)
    ended = attempt(ended_at=NOW + 9)

    assert ledger.do(finish, [Finished(id_, ended, ANSWER)], ledger.now) == [True]

    sight = ledger.see(id_)
    assert (sight.state, sight.reason, sight.applied, sight.answer) == ("delivered", None, "yes", ANSWER)
    assert sight.tries == (replace(ended, number=1),)
    assert ledger.unfinished() == 1
    assert ledger.bytes("azure") == ledger.counted("azure")
    ledger.do(release_client, "azure-shop", ledger.now)
    if reason != "restore":
        assert [lease.id for lease in ledger.claim()] == [follower]


def test_what_was_handed_over_and_is_held_as_a_conflict_waits_for_an_operator(ledger):
    id_ = handed_over(ledger)
    hold_it(ledger, "conflict")

    assert ledger.do(finish, [Finished(id_, attempt(ended_at=NOW + 9), ANSWER)], ledger.now) == [False]
    assert ledger.see(id_).state == "held"


def test_what_was_handed_over_and_held_and_was_not_applied_is_so_when_it_is_released(ledger):
    id_, due_at = handed_over(ledger), ledger.now + 60
    hold_it(ledger, "client")

    ledger.do(finish, [Finished(id_, REFUSED, due_at=due_at, again_at=ledger.now + 5)], ledger.now)

    found = ledger.row(id_)
    assert (found.state, found.applied, found.due_at, found.rests_until) == ("held", "no", None, None)
    ledger.do(release_client, "azure-shop", ledger.now)
    assert [lease.applied for lease in ledger.claim()] == ["no"]


def test_a_late_refusal_says_nothing_of_what_is_held_after_a_courier_had_it(ledger):
    id_, due_at = handed_over(ledger), ledger.now + 60
    ledger.now += 60
    (lease,) = ledger.claim()
    ledger.do(hold_client, "azure-shop", ledger.now)
    ledger.settle(lease, "waiting", "unknown", attempt=None)
    assert ledger.row(id_).state == "held"

    ledger.do(finish, [Finished(id_, REFUSED, due_at=due_at, again_at=ledger.now)], ledger.now)

    assert ledger.row(id_).applied == "unknown"


def test_a_courier_counts_on_from_the_try_that_was_handed_over(ledger):
    id_ = ledger.queue(state="waiting", applied="unknown", tried=(attempt("transient", code="upstream-timeout"),))
    (lease,) = ledger.claim()
    ledger.settle(lease)

    assert [(tried.number, tried.outcome) for tried in ledger.see(id_).tries] == [(1, "transient"), (2, "delivered")]


def test_what_a_courier_is_at_work_on_is_its_own_to_settle(ledger):
    lease = claimed(ledger, state="waiting", applied="unknown")

    assert ledger.do(finish, [Finished(lease.id, attempt(), ANSWER)], ledger.now) == [False]
    assert ledger.settle(lease) is True


def test_what_was_delivered_shows_its_answer_and_its_attempt(ledger):
    lease = claimed(ledger)
    ledger.now += 2

    assert ledger.settle(lease) is True

    sight = ledger.see(lease.id)
    assert (sight.state, sight.applied, sight.answer, sight.finished_at) == ("delivered", "yes", ANSWER, NOW + 2)
    assert (sight.attempts, sight.tries) == (1, (attempt(number=1),))
    assert ledger.waiting() == {}


def test_a_lease_is_settled_once(ledger):
    lease = claimed(ledger)
    ledger.settle(lease, "waiting", "no")

    assert ledger.settle(lease) is False
    assert ledger.see(lease.id).state == "waiting"
    assert ledger.count(attempts) == 1


def test_a_settlement_with_another_token_changes_nothing(ledger):
    lease = claimed(ledger)

    wrong = Settlement(lease.seq, "another", "dead", "no", attempt("record"))
    right = Settlement(lease.seq, lease.token, "delivered", "yes", attempt())

    assert ledger.do(settle, [wrong, right, right], ledger.now) == [False, True, False]
    assert ledger.see(lease.id).state == "delivered"
    assert ledger.count(attempts) == 1


def test_a_failure_is_kept_until_the_next_result(ledger):
    lease = claimed(ledger)
    ledger.settle(lease, "waiting", "unknown", problem=PROBLEM, due_at=NOW + 5)
    sight = ledger.see(lease.id)
    assert (sight.state, sight.applied, sight.problem, sight.due_at) == ("waiting", "unknown", PROBLEM, NOW + 5)

    ledger.now += 5
    (lease,) = ledger.claim()
    assert (lease.applied, lease.attempts) == ("unknown", 1)
    assert ledger.see(lease.id).problem == PROBLEM
    ledger.settle(lease)

    assert ledger.see(lease.id).problem is None
    assert [tried.outcome for tried in ledger.see(lease.id).tries] == ["transient", "delivered"]


def test_what_is_given_back_untried_counts_as_no_attempt(ledger):
    lease = claimed(ledger)

    ledger.settle(lease, "queued", "no", attempt=None, due_at=NOW)

    sight = ledger.see(lease.id)
    assert (sight.state, sight.attempts, sight.tries) == ("queued", 0, ())
    assert len(ledger.claim()) == 1


def test_what_is_to_be_tried_again_without_a_moment_is_due_now(ledger):
    lease = claimed(ledger)

    ledger.settle(lease, "waiting", "no")

    assert ledger.row(lease.id).due_at == NOW


def test_nothing_is_put_off_for_more_than_a_month(ledger):
    lease = claimed(ledger)

    ledger.settle(lease, "waiting", "no", due_at=NOW + 365 * DAY_S)

    assert ledger.row(lease.id).due_at == NOW + 31 * DAY_S


def test_what_was_sent_cannot_become_cancelled_by_a_settlement(ledger):
    lease = claimed(ledger)

    with pytest.raises(ValueError, match="cancelled"):
        ledger.settle(lease, "cancelled", "no")
    assert ledger.see(lease.id).state == "sending"


def test_what_died_no_longer_counts_for_its_partner(ledger):
    ledger.die()

    assert ledger.waiting() == {}


def test_what_waits_counts_until_it_is_finished(ledger):
    lease = claimed(ledger, body=b"12345")
    ledger.settle(lease, "waiting", "no")

    assert ledger.waiting() == {("erp", "azure"): (1, 5 + len("POST /v1/orders") + len('{"variables":{}}'))}


def test_the_next_goes_when_the_one_before_it_was_delivered(ledger):
    lease = claimed(ledger, order_key="k")
    followers = [ledger.queue(order_key="k") for _ in range(2)]
    assert ledger.claim() == []

    ledger.settle(lease)

    assert [lease.id for lease in ledger.claim()] == followers[:1]


def test_the_next_of_each_ordering_key_goes_after_one_batch(ledger):
    for order_key in "ab":
        ledger.queue(order_key=order_key)
    leases = ledger.claim()
    followers = [ledger.queue(order_key=order_key) for order_key in "ab"]

    ledger.do(settle, [Settlement(lease.seq, lease.token, "delivered", "yes") for lease in leases], ledger.now)

    assert sorted(lease.id for lease in ledger.claim()) == sorted(followers)


def test_a_failing_head_holds_those_that_follow_it_and_only_them(ledger):
    lease = claimed(ledger, order_key="k")
    ledger.queue(order_key="k")
    other = ledger.queue(order_key="other")

    ledger.settle(lease, "waiting", "no", due_at=NOW + 60)

    assert [lease.id for lease in ledger.claim()] == [other]


def test_a_dead_head_holds_those_that_follow_it(ledger):
    head = ledger.die(order_key="k")
    follower = ledger.queue(order_key="k")

    assert ledger.claim() == []
    assert ledger.see(follower).follows.id == head


def test_a_held_head_holds_those_that_follow_it(ledger):
    lease = claimed(ledger, order_key="k")
    follower = ledger.queue(order_key="k")

    ledger.settle(lease, "held", "unknown", reason="conflict")

    assert ledger.claim() == []
    assert ledger.see(follower).follows.id == lease.id
    assert ledger.see(lease.id).reason == "conflict"


def test_what_is_to_be_tried_again_for_a_held_client_is_held(ledger):
    lease = claimed(ledger)
    ledger.do(hold_client, "azure-shop", ledger.now)

    ledger.settle(lease, "waiting", "unknown", due_at=NOW)

    sight = ledger.see(lease.id)
    assert (sight.state, sight.reason, sight.due_at) == ("held", "client", None)


def test_what_a_connector_noted_is_there_at_the_next_try(ledger):
    lease = claimed(ledger)

    noted = [Memory(lease.seq, token, {"write_date": "then"}) for token in (lease.token, "another")]
    assert ledger.do(remember, noted, ledger.now) == [True, False]
    ledger.settle(lease, "waiting", "unknown")

    (lease,) = ledger.claim()
    assert lease.memory == {"write_date": "then"}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_only_the_first_of_an_ordering_key_may_go_and_it_may(ledger, seed):
    chance = random.Random(seed)
    leases = []
    for _ in range(120):
        ledger.now += 1
        _one_step(ledger, chance, leases)

        _check_order(ledger)
        _check_counts(ledger)


def _one_step(ledger, chance, leases):
    step = chance.choice(["accept", "accept", "claim", "settle", "settle", "cancel", "replay", "skip", "lose"])
    ids = _ids(ledger)
    if step == "accept":
        order_keys = [chance.choice(["a", "b", None]) for _ in range(chance.randint(1, 3))]
        ledger.accept(*[Acceptance(new(order_key=each, due_at=ledger.now), Quota()) for each in order_keys])
    elif step == "claim":
        leases.extend(ledger.claim(chance.randint(1, 3)))
    elif step == "settle" and leases:
        state, applied = chance.choice([
            ("delivered", "yes"), ("delivered", "yes"), ("waiting", "no"), ("waiting", "unknown"), ("dead", "no"),
            ("held", "unknown"),
        ])  # fmt: skip
        ledger.settle(leases.pop(chance.randrange(len(leases))), state, applied)
    elif step == "cancel" and ids:
        ledger.do(cancel, chance.choice(ids), chance.choice(["azure", None]), ledger.now)
    elif step == "replay" and ids:
        ledger.do(replay, [chance.choice(ids)], ledger.now)
    elif step == "skip" and ids:
        ledger.do(skip, [chance.choice(ids)], ledger.now)
    elif step == "lose":
        ledger.now += 31
        ledger.reclaim()


def _rows(ledger):
    with ledger.database.reading() as session:
        return session.connection().execute(select(transactions).order_by(transactions.c.seq)).all()


def _ids(ledger):
    return [row.id for row in _rows(ledger)]


def _check_order(ledger):
    heads = {}
    for row in _rows(ledger):
        if row.state in {"delivered", "cancelled"}:
            assert row.due_at is None
            continue
        is_head = row.order_key is None or heads.setdefault(row.order_key, row.seq) == row.seq
        may_go = row.due_at is not None or row.state == "sending"
        assert (row.state == "sending") == (row.lease is not None)
        assert may_go == (is_head and row.state in {"queued", "waiting", "sending"}), row


def _check_counts(ledger):
    unfinished = [row for row in _rows(ledger) if row.state not in {"delivered", "dead", "cancelled"}]
    expected = {("erp", "azure"): (len(unfinished), sum(row.size for row in unfinished))} if unfinished else {}
    assert ledger.waiting() == expected
