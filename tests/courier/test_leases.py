"""Whether a lease may still be acted on, and what is known of an upstream that does not fit."""

from entrepot.courier.leases import ClockWatch, Leases, OwnLease
from entrepot.courier.standing import FIRST_HOLD_S, LONGEST_HOLD_S, Standing
from entrepot.ledger.entries import Lease, PlanText

START = 1_795_000_000.0


class Times:
    """Both clocks of a host."""

    def __init__(self):
        self.monotonic, self.wall = 100.0, START

    def pass_s(self, seconds):
        """Let time pass."""
        self.monotonic += seconds
        self.wall += seconds


def lease(times, *, until=START + 30, token="t"):
    given = Lease(
        seq=1, id="id", token=token, until=until, partner="acme", client="shop", endpoint="e", upstream="u",
        kind="relay", operation_id="op", plan=PlanText("d", "{}"), facts={}, body=b"", accepted_at=START,
        expires_at=START + 99, applied="no", attempts=0,
    )  # fmt: skip
    return OwnLease(given, lease_s=30, margin_s=4, monotonic=lambda: times.monotonic, wall=lambda: times.wall)


def test_nothing_is_sent_in_the_last_seconds_of_a_lease():
    times = Times()
    own = lease(times)

    times.pass_s(25.9)
    assert own.may_send()
    times.pass_s(0.2)
    assert not own.may_send()


def test_a_renewed_lease_may_be_acted_on_again():
    times = Times()
    own = lease(times)
    times.pass_s(29)

    own.extend(times.wall + 30, 30)

    assert own.may_send()


def test_a_clock_that_was_set_back_makes_no_lease_longer():
    times = Times()
    own = lease(times)
    times.wall -= 3600

    times.pass_s(27)

    assert not own.may_send()


def test_a_clock_that_was_set_forward_ends_a_lease():
    times = Times()
    own = lease(times)

    times.wall += 3600

    assert not own.may_send()


def test_a_lease_given_anew_ends_the_older_one_of_the_same_transaction():
    times, held = Times(), Leases()
    older, newer = lease(times, token="a"), lease(times, token="b")

    held.add(older)
    held.add(newer)
    held.remove(older)

    assert older.lost
    assert not older.may_send()
    assert list(held) == [newer]


def test_a_clock_that_was_set_is_noticed_once():
    times = Times()
    watch = ClockWatch(lambda: times.wall, lambda: times.monotonic)

    times.pass_s(60)
    assert not watch.was_set()
    times.wall += 3600
    assert watch.was_set()
    assert not watch.was_set()
    times.wall -= 3600
    assert watch.was_set()


def test_an_upstream_that_does_not_fit_is_held_longer_each_time():
    standing, now, waits = Standing(), START, []
    for n in range(8):
        until = standing.refused(f"plan {n}", now)
        waits.append(until - now)
        now = until

    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert (waits[0], waits[-1]) == (FIRST_HOLD_S, LONGEST_HOLD_S)


def test_what_was_in_flight_when_the_hold_began_does_not_make_it_longer():
    standing = Standing()

    assert standing.refused("a", START) == START + 10
    assert standing.refused("b", START + 1) is None
    assert standing.refused("a", START + 2) is None


def test_a_good_delivery_ends_the_hold():
    standing = Standing()
    standing.refused("a", START)

    assert standing.took("a", START + 11)
    assert not standing.took("a", START + 12)
    assert standing.refused("a", START + 13) == START + 23


def test_a_plan_that_alone_does_not_fit_holds_nobody_else():
    standing = Standing()
    standing.refused("a", START)
    standing.took("b", START + 11)

    assert standing.refused("a", START + 12) is None
    assert standing.rests_until("a") == START + 32
    assert standing.rests_until("b") == 0.0
    assert not standing.on_trial
