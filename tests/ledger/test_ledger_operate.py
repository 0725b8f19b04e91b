import pytest
from ledger_support import DAY_S, NOW, new

from entrepot.ledger.entries import Acceptance, Hold, Quota
from entrepot.ledger.operate import (
    cancel,
    held_clients,
    hold,
    hold_client,
    hold_for_review,
    holds,
    release,
    release_client,
    replay,
    skip,
)
from entrepot.ledger.retention import Retention, prune


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
    assert ledger.see(follower).follows == head
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
    assert ledger.see(second).follows == ledger.see(third).follows == first


def test_after_a_restore_all_that_is_not_finished_waits_for_review(ledger):
    delivered, sending = ledger.deliver(), ledger.queue()
    (lease,) = ledger.claim()
    queued = ledger.queue()

    assert ledger.do(hold_for_review, ledger.now) == 2

    for id_ in (sending, queued):
        sight = ledger.see(id_)
        assert (sight.state, sight.reason, sight.applied, sight.due_at) == ("held", "restore", "unknown", None)
    assert ledger.see(delivered).state == "delivered"
    assert ledger.settle(lease) is False
    assert ledger.unfinished() == 2


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
