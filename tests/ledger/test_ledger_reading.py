import pytest
from ledger_support import NOW, attempt, new

from entrepot.ledger.entries import Acceptance, Backlog, Filters, Head, Quota
from entrepot.ledger.operate import cancel
from entrepot.ledger.reading import backlog, listing


def ids(ledger, **filters):
    return [sight.id for sight in ledger.do(listing, Filters(**filters))]


def test_a_transaction_is_its_own_partners_to_see(ledger):
    id_ = ledger.queue()

    assert ledger.see(id_, "azure").id == ledger.see(id_).id == id_
    assert ledger.see(id_, "another") is None
    assert ledger.see("no such id") is None


def test_attempts_are_shown_in_their_order(ledger):
    id_ = ledger.queue()
    for code in ("timeout", "refused", "timeout"):
        (lease,) = ledger.claim()
        ledger.settle(lease, "waiting", "unknown", attempt=attempt("transient", status=504, code=code))

    assert [tried.code for tried in ledger.see(id_).tries] == ["timeout", "refused", "timeout"]
    assert [tried.number for tried in ledger.see(id_).tries] == [1, 2, 3]


def test_a_follower_shows_what_it_waits_for(ledger):
    head = ledger.queue(order_key="k")
    follower = ledger.queue(order_key="k")

    assert ledger.see(follower).follows.id == head
    assert ledger.see(head).follows is None
    (lease,) = ledger.claim()
    ledger.settle(lease)
    assert ledger.see(follower).follows is None


def test_a_follower_shows_what_has_become_of_what_it_waits_for(ledger):
    head = ledger.die(order_key="k", partner="another")
    follower = ledger.queue(order_key="k")

    assert ledger.see(follower).follows == Head(head, "another", "dead", "no")


def test_a_list_is_newest_first_and_pages(ledger):
    brought = [ledger.queue(accepted_at=NOW + number) for number in range(7)]

    first = ids(ledger, partner="azure", limit=3)
    second = ids(ledger, partner="azure", limit=3, after=first[-1])
    third = ids(ledger, partner="azure", limit=3, after=second[-1])

    assert first + second + third == brought[::-1]


def test_a_list_is_oldest_first_when_asked(ledger):
    brought = [ledger.queue() for _ in range(4)]

    assert ids(ledger, oldest_first=True, limit=2) == brought[:2]
    assert ids(ledger, oldest_first=True, after=brought[1]) == brought[2:]


def test_a_list_goes_over_all_states_in_the_order_of_acceptance(ledger):
    dead, delivered, queued = ledger.die(), ledger.deliver(), ledger.queue()
    cancelled = ledger.queue()
    ledger.do(cancel, cancelled, None, ledger.now)
    elsewhere = ledger.queue(partner="another")

    assert ids(ledger, partner="azure") == [cancelled, queued, delivered, dead]
    assert ids(ledger, partner="azure", states=("dead", "queued")) == [queued, dead]
    assert ids(ledger, states=("queued", "cancelled")) == [elsewhere, cancelled, queued]
    assert ids(ledger) == [elsewhere, cancelled, queued, delivered, dead]


@pytest.mark.parametrize("name", ["client", "endpoint", "upstream"])
def test_a_list_is_narrowed_by(ledger, name):
    ledger.queue()
    wanted = ledger.queue(**{name: "wanted"})

    assert ids(ledger, **{name: "wanted"}) == [wanted]
    assert ids(ledger, partner="azure", **{name: "wanted"}) == [wanted]


def test_a_list_is_narrowed_by_age(ledger):
    brought = [ledger.queue(accepted_at=NOW + number) for number in range(5)]

    assert ids(ledger, accepted_from=NOW + 1, accepted_to=NOW + 3) == brought[1:3][::-1]


def test_a_page_behind_what_is_not_there_is_empty(ledger):
    ledger.queue()

    assert ids(ledger, after="no such id") == []


def test_the_backlog_says_what_waits_at_each_upstream(ledger):
    ledger.die()
    ledger.deliver()
    for moment in (5, 3, 4):
        ledger.queue(accepted_at=NOW + moment, body=b"")
    ledger.queue(accepted_at=NOW + 7, upstream="carrier", partner="another")
    ledger.claim(1)
    size = len("POST /v1/orders") + len('{"variables":{}}')

    assert ledger.do(backlog) == [
        Backlog("carrier", 1, size + len(b'{"reference":"A1"}'), NOW + 7, {"queued": 1}),
        Backlog("erp", 3, 3 * size, NOW + 5, {"queued": 2, "sending": 1}),
    ]


def test_the_backlog_of_a_partner_with_two_upstreams_is_told_apart(ledger):
    ledger.queue(upstream="erp")
    ledger.accept(*[Acceptance(new(upstream="carrier", accepted_at=NOW + 1), Quota()) for _ in range(3)])

    found = {each.upstream: (each.unfinished, each.oldest, each.states) for each in ledger.do(backlog)}

    assert found == {"erp": (1, NOW, {"queued": 1}), "carrier": (3, NOW + 1, {"queued": 3})}


def test_nothing_waits_at_first(ledger):
    assert ledger.do(backlog) == []
    assert ledger.do(listing, Filters()) == []


def test_a_page_behind_what_another_partner_has_is_empty_as_behind_what_is_not_there(ledger):
    ledger.queue()
    others = ledger.queue(partner="another")

    assert ids(ledger, partner="azure", after=others) == []
    assert len(ids(ledger, after=others)) == 1


def test_a_list_reads_no_answers(ledger):
    id_ = ledger.deliver()

    (listed,) = ledger.do(listing, Filters(partner="azure"))

    assert listed.answer is None
    assert ledger.see(id_).answer is not None
