"""SIGKILL at random moments under load: of workers, gunicorn's master, couriers and the upstream, and by turns."""

import pytest
from fault_kills import kill
from fault_rig import pause
from fault_verdict import assert_applied_at_least_once, assert_applied_once, assert_surplus_is_unanswered

pytestmark = pytest.mark.faults

PATHS = ["/v1/lanes/{lane}", "/v1/crowd", "/v1/ready/{lane}"]


@pytest.fixture
def make_busy_rig(make_rig):
    """Return a function that starts a rig whose upstream takes its time, so that something is always in flight."""

    def make(**options):
        rig = make_rig(**options)
        rig.witness.behave("slow", seconds=0.02)
        return rig

    return make


@pytest.mark.parametrize("victim", ["worker", "master", "courier", "upstream"])
def test_killed_process_loses_nothing_and_doubles_nothing(make_busy_rig, dice, cycles, victim):
    rig = make_busy_rig()

    with rig.load(8, *PATHS) as load:
        kill(rig, dice, [victim], cycles)
    rig.daemon.wait_ready()
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()


def test_two_couriers_and_four_workers_killed_by_turns_keep_the_count_and_the_order(make_busy_rig, dice, cycles):
    rig = make_busy_rig(workers=4, couriers=2)

    with rig.load(12, *PATHS) as load:
        kill(rig, dice, ["worker", "courier", "worker", "courier", "master"], cycles)
    rig.daemon.wait_ready()
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()


def test_write_with_a_key_in_mode_direct_is_applied_by_one_transaction(make_busy_rig, dice, cycles):
    rig = make_busy_rig()

    with rig.load(8, "/v1/direct") as load:
        for _ in range(cycles):
            pause(0.2 + dice.random() * 0.8)
            rig.kill_worker(dice.randrange(8))

    assert_applied_once(load.writes, rig.witness.log)


def test_without_keys_all_that_was_accepted_is_applied_and_the_surplus_got_no_answer(make_busy_rig, dice, cycles):
    rig = make_busy_rig()

    with rig.load(8, "/v1/lanes/{lane}", "/v1/crowd", keyed=False) as load:
        kill(rig, dice, ["worker", "courier", "master"], cycles)
    rig.daemon.wait_ready()
    rig.ledger.wait_drained()

    assert_surplus_is_unanswered(load.writes, rig.witness.log)


def test_upstream_that_heeds_no_key_gets_each_write_again_only_for_what_was_killed(make_busy_rig, dice, cycles):
    places = 4
    rig = make_busy_rig(concurrency=places, timeout="10s")

    with rig.load(8, *PATHS) as load:
        kill(rig, dice, ["worker", "courier", "master", "upstream"], cycles)
    rig.daemon.wait_ready()
    rig.ledger.wait_drained()

    # No more than that was on its way when something was killed, and nothing else failed.
    assert_applied_at_least_once(load.writes, rig.witness.log, repeats=cycles * places)
    rig.assert_alive()
