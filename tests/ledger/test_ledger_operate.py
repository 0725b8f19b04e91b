import pytest
from ledger_support import DAY_S, NOW, attempt, new

from entrepot.gateway.transactions import advice
from entrepot.ledger.desk import ALLOWED
from entrepot.ledger.entries import Acceptance, Hold, Memory, Quota
from entrepot.ledger.losses import reclaim
from entrepot.ledger.operate import (
    begin_hold,
    cancel,
    held_clients,
    hold,
    hold_client,
    holds,
    release,
    release_client,
    replay,
    skip,
    waiting_clients,
)
from entrepot.ledger.recovery import hasten
from entrepot.ledger.retention import Retention, prune
from entrepot.ledger.settle import remember
from entrepot.ledger.states import STATES, may_move


def test_what_was_not_sent_is_cancelled_by_its_partner(ledger):
    id_ = ledger.queue()

    assert ledger.do(cancel, id_, "azure", NOW + 1) == "done"

    sight = ledger.see(id_)
    assert (sight.state, sight.applied, sight.finished_at, sight.due_at) == ("cancelled", "no", NOW + 1, None)
    assert ledger.claim() == []
    assert ledger.waiting() == {}
    assert ledger.do(cancel, id_, "azure", NOW + 2) == "done"
    assert ledger.waiting() == {}


def test_what_was_tried_and_not_applied_is_cancelled(ledger):
    id_ = ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease, "waiting", "no", due_at=NOW + 60)

    assert ledger.do(cancel, id_, "azure", ledger.now) == "done"


@pytest.mark.parametrize("partner", ["azure", None])
@pytest.mark.parametrize("state", ["sending", "waiting", "delivered"])
def test_what_may_have_been_applied_is_not_cancelled(ledger, state, partner):
    id_ = ledger.queue()
    (lease,) = ledger.claim()
    if state != "sending":
        ledger.settle(lease, state, "yes" if state == "delivered" else "unknown")

    assert ledger.do(cancel, id_, partner, ledger.now) == "sent"
    assert ledger.see(id_).state == state


@pytest.mark.parametrize("partner", ["azure", None])
def test_what_is_dead_and_was_not_applied_is_cancelled_and_the_next_goes(ledger, partner):
    id_ = ledger.die(order_key="k")
    follower = ledger.queue(order_key="k")

    assert ledger.do(cancel, id_, partner, ledger.now) == "done"
    assert ledger.see(id_).state == "cancelled"
    assert [lease.id for lease in ledger.claim()] == [follower]


def test_what_another_partner_has_is_not_there_to_be_cancelled(ledger):
    id_ = ledger.queue()

    assert ledger.do(cancel, id_, "another", ledger.now) == "gone"
    assert ledger.do(cancel, "no such id", "azure", ledger.now) == "gone"
    assert ledger.see(id_).state == "queued"


def test_the_next_goes_when_the_one_before_it_is_cancelled(ledger):
    first = ledger.queue(order_key="k")
    second, third = ledger.queue(order_key="k"), ledger.queue(order_key="k")

    ledger.do(cancel, second, "azure", ledger.now)
    assert [lease.id for lease in ledger.claim(1)] == [first]
    assert ledger.see(third).due_at is None
    fresh = ledger.queue(order_key="j")
    follower = ledger.queue(order_key="j")
    ledger.do(cancel, fresh, "azure", ledger.now)

    assert [lease.id for lease in ledger.claim()] == [follower]


def test_what_is_dead_is_replayed_under_its_id(ledger):
    id_ = ledger.queue(order_key="k")
    (lease,) = ledger.claim()
    ledger.settle(lease, "dead", "no", problem={"status": 422})
    ledger.now += 30 * DAY_S

    assert ledger.do(replay, [id_, "no such id"], ledger.now) == 1

    sight = ledger.see(id_)
    assert (sight.state, sight.problem, sight.finished_at, sight.due_at) == (
        "queued",
        {"status": 422},
        None,
        ledger.now,
    )
    assert ledger.unfinished() == 1
    (lease,) = ledger.claim()
    assert lease.id == id_
    assert lease.expires_at == ledger.now + 3 * DAY_S


def test_what_may_have_been_applied_is_replayed_as_such(ledger):
    id_ = ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease, "held", "unknown", reason="conflict")

    assert ledger.do(replay, [id_], ledger.now) == 1

    sight = ledger.see(id_)
    assert (sight.state, sight.applied, sight.reason) == ("waiting", "unknown", None)
    assert ledger.unfinished() == 1


def test_what_was_applied_or_is_not_over_is_not_replayed(ledger):
    delivered, queued = ledger.deliver(), ledger.queue()

    assert ledger.do(replay, [delivered, queued], ledger.now) == 0
    assert ledger.see(delivered).state == "delivered"


def test_a_replayed_follower_waits_for_its_head(ledger):
    head = ledger.queue(order_key="k")
    follower = ledger.queue(order_key="k")
    ledger.do(hold_client, "azure-shop", ledger.now)

    ledger.do(replay, [follower], ledger.now)
    assert ledger.see(follower).follows.id == head
    assert ledger.claim() == []
    ledger.do(replay, [head], ledger.now)

    assert [lease.id for lease in ledger.claim()] == [head]


def test_a_dead_head_that_is_skipped_lets_the_next_go(ledger):
    head = ledger.die(order_key="k")
    follower = ledger.queue(order_key="k")

    assert ledger.do(skip, [head], ledger.now) == 1

    assert ledger.see(head).state == "cancelled"
    assert [lease.id for lease in ledger.claim()] == [follower]
    assert ledger.unfinished() == 1


def test_a_held_head_that_is_skipped_lets_the_next_go(ledger):
    head = ledger.queue(order_key="k")
    (lease,) = ledger.claim()
    ledger.settle(lease, "held", "unknown", reason="conflict")
    follower = ledger.queue(order_key="k")

    assert ledger.do(skip, [head, follower], ledger.now) == 1

    assert (ledger.see(head).state, ledger.see(head).applied) == ("cancelled", "unknown")
    assert [lease.id for lease in ledger.claim()] == [follower]


def test_a_hold_says_since_when_and_why(ledger):
    ledger.do(hold, "erp", "misconfigured", "no such model", None, NOW)
    ledger.do(hold, "erp", "misconfigured", "no such field", NOW + 60, NOW + 5)

    assert ledger.do(holds) == [Hold("erp", "misconfigured", "no such field", NOW, NOW + 60)]


def test_what_an_operator_holds_is_not_held_for_another_reason(ledger):
    ledger.do(hold, "*", "maintenance", "deploying", None, NOW)
    ledger.do(hold, "*", "misconfigured", "no such model", NOW + 60, NOW)

    assert [each.reason for each in ledger.do(holds)] == ["maintenance"]


def test_a_hold_that_has_ended_is_begun_anew(ledger):
    ledger.do(hold, "erp", "maintenance", "", NOW + 60, NOW)
    ledger.do(hold, "erp", "misconfigured", "", None, NOW + 61)

    assert ledger.do(holds) == [Hold("erp", "misconfigured", "", NOW + 61, None)]


def test_what_was_held_with_its_upstream_goes_when_it_is_released(ledger):
    id_ = ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease, "held", "no", reason="upstream")
    conflict = ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease, "held", "unknown", reason="conflict")

    assert ledger.do(release, "erp", ledger.now) == 1

    assert [lease.id for lease in ledger.claim()] == [id_]
    assert ledger.see(conflict).state == "held"


def test_the_work_of_a_client_is_held_and_let_go(ledger):
    first, second = ledger.queue(order_key="k"), ledger.queue(order_key="k")
    other = ledger.queue(client="another")

    assert ledger.do(hold_client, "azure-shop", ledger.now) == 2
    assert ledger.do(held_clients) == ["azure-shop"]
    assert [lease.id for lease in ledger.claim()] == [other]
    third = ledger.queue(order_key="k")

    assert ledger.do(release_client, "azure-shop", ledger.now) == 3
    assert ledger.do(holds) == []
    assert [lease.id for lease in ledger.claim()] == [first]
    assert ledger.see(second).follows.id == ledger.see(third).follows.id == first


def test_what_an_operator_holds_of_a_client_no_courier_lets_go(ledger):
    ledger.queue()
    ledger.do(begin_hold, "azure-shop", ledger.now, disabled=True)
    assert ledger.do(hold_client, "azure-shop", ledger.now) == 1

    assert ledger.do(held_clients) == []
    assert ledger.do(release_client, "azure-shop", ledger.now) == 0
    assert ledger.claim() == []

    assert ledger.do(release_client, "azure-shop", ledger.now, disabled=True) == 1
    assert len(ledger.claim()) == 1


def test_a_client_that_is_enabled_and_gone_is_held_for_that(ledger):
    ledger.queue()
    ledger.do(begin_hold, "azure-shop", ledger.now, disabled=True)
    ledger.do(hold_client, "azure-shop", ledger.now)

    ledger.do(begin_hold, "azure-shop", ledger.now, disabled=False)

    assert ledger.do(held_clients) == ["azure-shop"]
    assert ledger.do(release_client, "azure-shop", ledger.now, disabled=True) == 0
    assert ledger.do(release_client, "azure-shop", ledger.now) == 1


def test_the_clients_that_have_something_waiting_are_known(ledger):
    ledger.deliver(client="third")
    ledger.queue()
    ledger.queue(client="another")

    assert sorted(ledger.do(waiting_clients, "azure")) == ["another", "azure-shop"]


def test_the_work_of_a_client_is_held_and_let_go_in_steps(ledger):
    ledger.accept(*[Acceptance(new(), Quota()) for _ in range(7)])

    assert [ledger.do(hold_client, "azure-shop", ledger.now, 3) for _ in range(4)] == [3, 3, 1, 0]
    assert ledger.claim() == []
    assert ledger.do(release_client, "azure-shop", ledger.now, 3) == 3
    assert ledger.do(held_clients) == []
    assert len(ledger.claim()) == 3
    ledger.now += 1
    assert ledger.do(prune, Retention(), ledger.now, 3) == 3
    assert ledger.do(prune, Retention(), ledger.now, 3) == 1

    assert len(ledger.claim()) == 4
    assert ledger.do(prune, Retention(), ledger.now, 3) == 0
    assert ledger.do(holds) == []


def test_what_is_left_of_a_held_client_is_held_when_it_is_given_back(ledger):
    ledger.accept(*[Acceptance(new(), Quota()) for _ in range(3)])
    ledger.do(hold_client, "azure-shop", ledger.now, 1)

    for lease in ledger.claim():
        ledger.settle(lease, "queued", "no", attempt=None)

    assert ledger.claim() == []


def test_a_client_that_is_held_again_while_it_is_let_go_is_held(ledger):
    ledger.accept(*[Acceptance(new(), Quota()) for _ in range(3)])
    ledger.do(hold_client, "azure-shop", ledger.now)
    ledger.do(release_client, "azure-shop", ledger.now, 1)
    ledger.do(hold_client, "azure-shop", ledger.now)

    assert ledger.do(held_clients) == ["azure-shop"]
    assert ledger.do(prune, Retention(), ledger.now + 1, 3) == 0
    assert ledger.claim() == []


def unanswered_call(ledger, **values):
    """Send a call whose answer does not come; its upstream may be at work on it for 130 s."""
    id_ = ledger.queue(kind="call", **values)
    (lease,) = ledger.claim()
    ledger.settle(lease, "waiting", "unknown", due_at=NOW + 130, rests_until=NOW + 130)
    return id_


def handed_over_call(ledger, **values):
    """Have a worker hand over a call whose answer did not come."""
    tried = (attempt("transient", status=504),)
    late = new(kind="call", state="waiting", applied="unknown", due_at=NOW + 130, tried=tried, **values)
    ledger.accept(Acceptance(late, Quota(), when="handed-over"))
    return late.id


def disable_and_enable(ledger, _id):
    ledger.do(begin_hold, "azure-shop", NOW, disabled=True)
    ledger.do(hold_client, "azure-shop", NOW)
    assert ledger.do(release_client, "azure-shop", NOW, disabled=True) == 1


def replay_it(ledger, id_):
    ledger.do(hold_client, "azure-shop", NOW)
    assert ledger.do(replay, [id_], NOW) == 1


@pytest.mark.parametrize("send", [unanswered_call, handed_over_call])
@pytest.mark.parametrize("order_key", [None, "k"])
@pytest.mark.parametrize("do", [disable_and_enable, replay_it])
def test_what_its_upstream_may_be_at_work_on_rests_also_when_it_goes_again(ledger, send, order_key, do):
    id_ = send(ledger, order_key=order_key)

    do(ledger, id_)

    assert ledger.see(id_).due_at == NOW + 130
    assert ledger.claim() == []
    ledger.now += 130
    (lease,) = ledger.claim()
    assert (lease.id, lease.rests_until) == (id_, NOW + 130)


def test_what_was_handed_over_behind_a_dead_one_rests_also_when_that_is_skipped(ledger):
    head = ledger.die(order_key="k")
    id_ = handed_over_call(ledger, order_key="k")

    ledger.do(skip, [head], NOW)

    assert ledger.see(id_).due_at == NOW + 130


def test_what_a_lost_courier_may_have_sent_rests_from_when_it_was_sent(ledger):
    id_ = ledger.queue(kind="update")
    (lease,) = ledger.claim()
    ledger.do(remember, [Memory(lease.seq, lease.token, {}, NOW + 130)], NOW)
    ledger.now += 31

    assert ledger.reclaim() == 1

    assert (ledger.see(id_).state, ledger.see(id_).due_at) == ("waiting", NOW + 130)


def bring_into(ledger, state):
    """Return a transaction in *state*, which was not applied unless it is delivered."""
    id_ = ledger.queue()
    if state == "held":
        ledger.do(hold, "erp", "misconfigured", "", None, NOW)
        ledger.do(hold_client, "azure-shop", NOW)
    elif state == "cancelled":
        ledger.do(cancel, id_, None, NOW)
    elif state != "queued":
        (lease,) = ledger.claim()
        if state != "sending":
            ledger.settle(lease, state, "yes" if state == "delivered" else "no")
    assert ledger.see(id_).state == state
    return id_


CHANGES = {
    "cancel": lambda ledger, id_: ledger.do(cancel, id_, None, NOW),
    "replay": lambda ledger, id_: ledger.do(replay, [id_], NOW),
    "skip": lambda ledger, id_: ledger.do(skip, [id_], NOW),
    "hold_client": lambda ledger, _id: ledger.do(hold_client, "azure-shop", NOW),
    "release_client": lambda ledger, _id: ledger.do(release_client, "azure-shop", NOW),
    "claim": lambda ledger, _id: ledger.claim(),
    "reclaim": lambda ledger, _id: ledger.do(reclaim, NOW + 31),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", STATES)
def test_whatever_is_done_to_a_transaction_it_moves_as_the_states_say(ledger, state, change):
    id_ = bring_into(ledger, state)

    CHANGES[change](ledger, id_)

    after = ledger.see(id_).state
    assert after == state or may_move(state, after)
    if change in ALLOWED:
        assert (after != state) == (state in ALLOWED[change])


@pytest.mark.parametrize(
    ("applied", "told"), [("no", "send the request again"), ("yes", "do not send it again"), ("unknown", "look at")]
)
def test_who_sees_a_transaction_that_was_skipped_is_told_what_became_of_it(ledger, applied, told):
    id_ = ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease, "dead", applied)

    ledger.do(skip, [id_], NOW)

    sight = ledger.see(id_)
    assert (sight.state, sight.applied) == ("cancelled", applied)
    assert told in advice(sight)
    assert ("send the request again" in advice(sight)) == (applied == "no")


def test_what_was_held_for_an_upstream_goes_in_steps_and_then_its_hold_ends(ledger):
    ledger.accept(*[Acceptance(new(), Quota()) for _ in range(5)])
    for lease in ledger.claim():
        ledger.settle(lease, "held", "no", reason="upstream", attempt=None)
    ledger.do(hold, "erp", "misconfigured", "", None, NOW)

    assert [ledger.do(release, "erp", NOW, 2) for _ in range(2)] == [2, 2]
    assert len(ledger.do(holds)) == 1
    assert [ledger.do(release, "erp", NOW, 2) for _ in range(2)] == [1, 0]
    assert ledger.do(holds) == []
    assert len(ledger.claim()) == 5


def test_what_waits_is_hastened_in_steps_but_not_what_rests(ledger):
    resting = unanswered_call(ledger)
    ledger.accept(*[Acceptance(new(kind="call"), Quota()) for _ in range(5)])
    for lease in ledger.claim():
        ledger.settle(lease, "waiting", "unknown", due_at=NOW + 600)

    assert [ledger.do(hasten, ["erp"], NOW, 2) for _ in range(4)] == [[2], [2], [1], [0]]
    assert resting not in {lease.id for lease in ledger.claim()}
