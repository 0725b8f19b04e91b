"""Several hosts on one database of PostgreSQL go by its clock, however wrong their own are."""

import time

import pytest
from ledger_support import PLAN
from ledger_support import Ledger as Work

from entrepot.ledger.claim import claim
from entrepot.ledger.entries import ClaimRequest
from entrepot.ledger.losses import reclaim
from entrepot.ledger.writer import Writer
from entrepot.store import schema
from entrepot.store.engine import open_database

pytestmark = pytest.mark.postgres

SKEWS_S = [-600.0, -60.0, 60.0, 600.0]
LEASE_S = 30.0


class Host:
    """A process of a host whose clock is *ahead_s* off; ``ahead_s`` may be changed, as somebody sets the clock."""

    def __init__(self, url, ahead_s=0.0):
        self.ahead_s = ahead_s
        self.database = open_database(url, clock=lambda: time.time() + self.ahead_s)
        self._writer = Writer(self.database)

    def do(self, handler, item=None):
        """Return what *handler* returns for *item*, run by the writer."""
        found = []
        self._writer.submit(handler, item, found.append)
        self._writer.close()
        self._writer = Writer(self.database)
        return found[0]

    def claim(self):
        return self.do(claim, ClaimRequest("erp", 10, "host:1", LEASE_S))

    def take_over(self):
        return self.do(lambda connection, items, now: [reclaim(connection, now) for _ in items])

    def close(self):
        self._writer.close()
        self.database.close()


@pytest.fixture
def make_host(postgresql_url):
    made = []

    def make(ahead_s=0.0):
        made.append(Host(postgresql_url, ahead_s))
        return made[-1]

    schema.prepare(make().database)
    yield make
    for host in made:
        host.close()


def queue(host, **values):
    now = host.database.now()
    usual = {"accepted_at": now, "due_at": now, "expires_at": now + 3600, "plan": PLAN}
    return Work(host.database, now).queue(**(usual | values))


@pytest.mark.parametrize("ahead_s", SKEWS_S)
def test_a_host_whose_clock_is_wrong_takes_over_no_lease_that_lasts(make_host, ahead_s):
    right, wrong = make_host(), make_host(ahead_s)
    queue(right)
    (lease,) = right.claim()

    assert wrong.take_over() == 0

    assert Work(right.database).row(lease.id).leased_until == lease.until == pytest.approx(time.time() + LEASE_S, abs=2)


@pytest.mark.parametrize("ahead_s", SKEWS_S)
def test_the_lease_of_a_host_whose_clock_is_wrong_lasts_as_long_as_any(make_host, ahead_s):
    right, wrong = make_host(), make_host(ahead_s)
    queue(right)

    (lease,) = wrong.claim()

    assert lease.until == pytest.approx(time.time() + LEASE_S, abs=2)
    assert right.take_over() == 0


@pytest.mark.parametrize("ahead_s", SKEWS_S)
def test_what_a_host_whose_clock_is_wrong_has_accepted_is_due_for_all_at_once(make_host, ahead_s):
    right, wrong = make_host(), make_host(ahead_s)

    id_ = queue(wrong)

    assert [lease.id for lease in right.claim()] == [id_]


@pytest.mark.parametrize("ahead_s", SKEWS_S)
def test_what_rests_for_its_upstream_rests_for_a_host_whose_clock_is_wrong(make_host, ahead_s):
    right, wrong = make_host(), make_host(ahead_s)
    queue(right, state="waiting", applied="unknown", kind="call", due_at=right.database.now() + 20)

    assert wrong.claim() == []


def test_a_clock_that_is_set_is_right_again_with_the_next_change(make_host):
    host = make_host()
    host.ahead_s = 3600.0
    before = host.database.now()

    host.take_over()

    assert before > time.time() + 3000
    assert host.database.now() == pytest.approx(time.time(), abs=2)
