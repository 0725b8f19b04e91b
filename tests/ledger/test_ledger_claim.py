from concurrent.futures import ThreadPoolExecutor

from ledger_support import NOW, new

from entrepot.ledger.claim import claim, renew
from entrepot.ledger.entries import Acceptance, ClaimRequest, Quota, Renewal
from entrepot.ledger.operate import hold, hold_client, release


def test_what_is_due_is_leased_once(ledger):
    id_ = ledger.queue()

    (lease,) = ledger.claim()

    assert (lease.id, lease.until) == (id_, NOW + 30)
    assert ledger.see(id_).state == "sending"
    assert ledger.claim() == []


def test_what_is_due_later_is_left(ledger):
    ledger.queue(due_at=NOW + 10)

    assert ledger.claim() == []
    assert ledger.next_due() == NOW + 10
    ledger.now += 10
    assert len(ledger.claim()) == 1
    assert ledger.next_due() is None


def test_each_upstream_has_its_own_work(ledger):
    ledger.queue(upstream="carrier")

    assert ledger.claim(upstream="erp") == []
    assert ledger.next_due("erp") is None
    assert len(ledger.claim(upstream="carrier")) == 1


def test_several_are_asked_for_at_once(ledger):
    for upstream in ("erp", "carrier"):
        ledger.queue(upstream=upstream)
    requests = [ClaimRequest(upstream, 5, "host:1", 30.0) for upstream in ("carrier", "erp", "carrier")]

    found = ledger.do(claim, requests, ledger.now)

    assert [[lease.upstream for lease in leases] for leases in found] == [["carrier"], ["erp"], []]


def partners(leases):
    return [lease.partner for lease in leases]


def test_partners_are_served_in_turn(ledger):
    for partner, count in (("a", 5), ("b", 1), ("c", 3)):
        for _ in range(count):
            ledger.queue(partner=partner)

    assert partners(ledger.claim(7)) == ["a", "b", "c", "a", "c", "a", "c"]
    assert partners(ledger.claim(7)) == ["a", "a"]


def test_the_partner_that_was_served_last_comes_last(ledger):
    for partner in "abcd":
        ledger.queue(partner=partner)

    assert partners(ledger.claim(3, after="b")) == ["c", "d", "a"]


def test_one_partner_with_much_does_not_keep_the_others_waiting(ledger):
    ledger.accept(*[Acceptance(new(partner="much"), Quota()) for _ in range(500)])
    for partner in ("a", "z"):
        ledger.queue(partner=partner)

    assert sorted(partners(ledger.claim(10))) == ["a", *["much"] * 8, "z"]


def test_nothing_is_leased_for_no_places(ledger):
    ledger.queue()

    assert ledger.claim(0) == []


def test_the_first_accepted_goes_first(ledger):
    ids = [ledger.queue() for _ in range(5)]

    assert [lease.id for lease in ledger.claim(5)] == ids


def test_an_upstream_that_is_held_gets_nothing(ledger):
    ledger.queue()
    ledger.do(hold, "erp", "misconfigured", "no such model", None, ledger.now)

    assert ledger.claim() == []
    assert ledger.next_due() is None
    ledger.do(release, "erp", ledger.now)
    assert len(ledger.claim()) == 1


def test_maintenance_holds_every_upstream(ledger):
    for upstream in ("erp", "carrier"):
        ledger.queue(upstream=upstream)
    ledger.do(hold, "*", "maintenance", "", None, ledger.now)

    assert ledger.claim() == ledger.claim(upstream="carrier") == []


def test_a_hold_ends_by_itself(ledger):
    ledger.queue()
    ledger.do(hold, "*", "maintenance", "", NOW + 60, ledger.now)

    assert ledger.claim() == []
    assert ledger.next_due() == NOW + 60
    ledger.now += 60
    assert len(ledger.claim()) == 1


def test_a_lease_is_renewed_by_its_token_alone(ledger):
    ledger.queue()
    (lease,) = ledger.claim()

    renewals = [Renewal(lease.seq, token, NOW + 90) for token in ("another", lease.token)]

    assert ledger.do(renew, renewals, ledger.now) == [False, True]
    assert ledger.row(lease.id).leased_until == NOW + 90


def test_a_settled_lease_is_not_renewed(ledger):
    ledger.queue()
    (lease,) = ledger.claim()
    ledger.settle(lease)

    assert ledger.do(renew, [Renewal(lease.seq, lease.token, NOW + 90)], ledger.now) == [False]
    assert ledger.row(lease.id).leased_until is None


def test_the_work_of_a_lost_courier_may_have_been_applied_and_is_due_again(ledger):
    id_ = ledger.queue()
    (first,) = ledger.claim()
    assert ledger.reclaim() == 0
    ledger.now += 31

    assert ledger.reclaim() == 1

    sight = ledger.see(id_)
    assert (sight.state, sight.applied, sight.attempts, sight.due_at) == ("waiting", "unknown", 1, NOW + 31)
    assert [(tried.outcome, tried.code) for tried in sight.tries] == [("transient", "courier-lost")]
    (second,) = ledger.claim()
    assert second.token != first.token
    assert ledger.settle(first) is False
    assert ledger.settle(second) is True


def lose(ledger, times=1):
    """Have what is due tried by couriers that are lost."""
    for _ in range(times):
        ledger.claim()
        ledger.now += 31
        assert ledger.reclaim() == 1


def test_what_every_courier_is_lost_with_is_dead_after_its_age(ledger):
    id_ = ledger.queue(expires_at=NOW + 60, order_key="k")
    next_id = ledger.queue(order_key="k")

    lose(ledger, 3)

    sight = ledger.see(id_)
    assert (sight.state, sight.applied, sight.attempts) == ("dead", "unknown", 3)
    assert (sight.problem["code"], ledger.see(next_id).state) == ("outcome-unclear", "queued")
    assert ledger.claim() == []
    assert ledger.unfinished() == 1
    assert ledger.bytes("azure") == ledger.counted("azure")


def test_what_was_in_flight_when_its_host_went_down_for_longer_than_its_age_is_tried_again(ledger):
    id_ = ledger.queue(expires_at=NOW + 60)
    ledger.claim()
    ledger.now += 4 * 3600
    ledger.reclaim()
    ledger.now += 31

    assert ledger.reclaim() == 1

    assert ledger.see(id_).state == "waiting"
    assert len(ledger.claim()) == 1


def test_what_three_couriers_in_a_row_were_lost_with_is_suspect_until_one_is_not(ledger):
    ledger.queue()
    lose(ledger, 2)
    (lease,) = ledger.claim()
    assert not lease.is_suspect
    ledger.settle(lease, "waiting", "unknown", due_at=ledger.now)
    lose(ledger, 3)

    (suspect,) = ledger.claim()
    assert suspect.is_suspect
    ledger.settle(suspect, "waiting", "unknown", due_at=ledger.now)

    (cleared,) = ledger.claim()
    assert not cleared.is_suspect


def test_the_work_of_a_held_client_is_held_when_its_courier_is_lost(ledger):
    id_ = ledger.queue()
    ledger.claim()
    ledger.do(hold_client, "azure-shop", ledger.now)
    ledger.now += 31

    assert ledger.reclaim() == 1

    sight = ledger.see(id_)
    assert (sight.state, sight.reason, sight.applied, sight.due_at) == ("held", "client", "unknown", None)


def test_a_clock_that_jumps_an_hour_ahead_takes_no_lease_from_a_courier_that_is_well(ledger):
    ledger.queue()
    (lease,) = ledger.claim()
    ledger.now += 3600

    assert ledger.reclaim() == 0
    assert ledger.claim() == []
    assert ledger.do(renew, [Renewal(lease.seq, lease.token, ledger.now + 30)], ledger.now) == [True]
    ledger.now += 29
    assert ledger.reclaim() == 0
    assert ledger.settle(lease) is True


def test_after_a_jump_ahead_the_work_of_a_lost_courier_is_taken_back(ledger):
    ledger.queue()
    ledger.claim()
    ledger.now += 3600
    assert ledger.reclaim() == 0

    ledger.now += 30

    assert ledger.reclaim() == 1


def test_a_clock_that_jumps_an_hour_back_delays_and_doubles_nothing(ledger):
    ledger.queue()
    (lease,) = ledger.claim()
    ledger.now -= 3600

    assert ledger.reclaim() == 0
    assert ledger.claim() == []
    assert ledger.row(lease.id).leased_until == ledger.now + 30
    ledger.now += 30
    assert ledger.reclaim() == 1
    assert len(ledger.claim()) == 1
    assert ledger.settle(lease) is False


def test_couriers_that_claim_at_the_same_moment_share_the_work(ledger):
    ids = [admission.id for admission in ledger.accept(*[Acceptance(new(), Quota()) for _ in range(200)])]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ledger.claim(25), range(8)))

    assert sorted(lease.id for leases in found for lease in leases) == sorted(ids)
