"""What operators see and change, on a clock that stands still."""

import pytest

from entrepot.chassis.shared import SharedState
from entrepot.ledger import operate
from entrepot.ledger.desk import LedgerDesk
from entrepot.ledger.entries import Filters
from entrepot.store.audit import Actor, Change, Wanted, entries

ADA = Actor("ada", "command", "an-operation-id")


@pytest.fixture
def counter(tmp_path):
    shared = SharedState.open(tmp_path / "shared")
    yield shared.counter("ledger")
    shared.close()


@pytest.fixture
def desk(ledger, counter):
    return LedgerDesk(ledger.database, counter, clock=lambda: ledger.now)


def test_rate_is_of_the_last_minute_and_the_end_follows_from_it(ledger, desk):
    ledger.deliver()
    ledger.now += 61
    for _ in range(6):
        ledger.deliver()
    for _ in range(3):
        ledger.queue(accepted_at=ledger.now)
    ledger.now += 10

    (drain,) = desk.outlook().drains

    assert (drain.unfinished, drain.rate, drain.eta_s) == (3, 0.1, pytest.approx(30.0))
    assert drain.oldest == ledger.now - 10


def test_there_is_no_end_while_one_upstream_gets_nothing(ledger, desk):
    ledger.deliver()
    ledger.queue()
    assert desk.outlook().eta_s == pytest.approx(60.0)

    ledger.queue(upstream="carrier")

    assert desk.outlook().eta_s is None
    assert [(drain.upstream, drain.eta_s is None) for drain in desk.outlook().drains] == [
        ("carrier", True),
        ("erp", False),
    ]


def test_the_dead_of_every_partner_are_counted_where_they_were_to_go(ledger, desk):
    for partner in ("azure", "bolt"):
        ledger.die(partner=partner)
    ledger.deliver(partner="chrome")

    assert [(drain.upstream, drain.dead) for drain in desk.outlook(["carrier"]).drains] == [("carrier", 0), ("erp", 2)]


def test_a_hold_that_has_ended_holds_nothing(ledger, desk):
    ledger.deliver()
    ledger.queue()
    desk.begin_maintenance(ledger.now + 60, actor=ADA)
    assert desk.maintenance().detail == "by ada"
    assert desk.outlook().eta_s is None

    ledger.now += 30
    ledger.do(operate.hold, "erp", "misconfigured", "no such model", None, ledger.now)
    ledger.now += 30

    (drain,) = desk.outlook().drains
    assert desk.maintenance() is None
    assert (drain.hold.reason, drain.eta_s) == ("misconfigured", None)


def test_pages_go_on_where_the_last_ended_while_what_they_held_changes(ledger, desk):
    ids = [ledger.die() for _ in range(5)]

    seen = [
        desk.change("replay", [sight.id for sight in page], actor=ADA)
        for page in desk.pages(Filters(states=("dead",), limit=2))
    ]

    assert seen == [ids[4:2:-1], ids[2:0:-1], ids[:1]]


def test_couriers_are_woken_by_each_change(ledger, desk, counter):
    dead = ledger.die()
    seen = [counter.read()]

    desk.change("replay", [dead], actor=ADA)
    seen.append(counter.read())
    desk.begin_maintenance(None, actor=ADA)
    assert desk.end_maintenance(actor=ADA)
    seen.append(counter.read())

    assert seen == sorted(set(seen))


def test_erasing_goes_through_all_that_is_finished_in_steps(ledger, desk):
    for number in range(3):
        ledger.deliver(body=b'{"email":"ada@example.com"}' if number else b"{}")
    kept = ledger.queue(body=b'{"email":"ada@example.com"}')

    assert sum(each.count for each in desk.erase(partner=None, match=("email", "ada@example.com"), actor=ADA)) == 2
    assert desk.one(kept)[1].body == b'{"email":"ada@example.com"}'


@pytest.fixture
def audited(ledger):
    def audited(**wanted):
        with ledger.database.reading() as session:
            return [entry.change for entry in entries(session, Wanted(**wanted), 100)]

    return audited


def test_each_transaction_that_an_operator_changes_stands_in_the_audit_log(ledger, desk, audited):
    dead, queued = ledger.die(), ledger.queue()

    desk.change("replay", [dead, queued, "unheard-of"], actor=ADA)

    assert audited(actor="ada") == [Change("replay", "transaction", dead, {"state": "dead"}, {"state": "queued"})]


def test_the_audit_log_says_what_was_erased_and_not_for_whom(ledger, desk, audited):
    ledger.deliver(body=b'{"email":"ada@example.com"}')

    list(desk.erase(partner="azure", match=("email", "ada@example.com"), actor=ADA))
    list(desk.erase(partner="azure", match=("email", "ada@example.com"), actor=ADA))

    assert audited() == [Change("erase", "transaction", "", None, {"partner": "azure", "field": "email", "number": 1})]


def test_the_audit_log_says_when_deliveries_were_held_back(desk, audited):
    desk.end_maintenance(actor=ADA)
    desk.begin_maintenance(None, actor=ADA)
    desk.end_maintenance(actor=ADA)

    ended, begun = audited(kind="maintenance")

    assert (begun.action, begun.before, begun.after["detail"]) == ("begin", None, "by ada")
    assert (ended.action, ended.before, ended.after) == ("end", begun.after, None)
