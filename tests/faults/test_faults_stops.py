"""Orderly stops under load, and couriers that stand still for longer than their lease."""

import signal

import pytest
from fault_rig import LEASE_S, Courier, pause
from fault_verdict import assert_applied_once

pytestmark = pytest.mark.faults

PATHS = ["/v1/lanes/{lane}", "/v1/crowd", "/v1/ready/{lane}"]


def test_sigterm_of_gateway_and_courier_under_load_loses_nothing(make_rig, dice, cycles):
    rig = make_rig()

    with rig.load(8, *PATHS) as load:
        for _ in range(max(2, cycles // 4)):
            rig.wait_progress()
            pause(dice.random())
            assert rig.couriers[0].stop() == 0
            assert rig.daemon.stop(timeout_s=15.0) == 0
            rig.daemon.start()
            rig.couriers[0].start()
            rig.daemon.wait_ready(30.0)
    rig.ledger.wait_drained()

    verdict = assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()
    # Who is asked to end finishes what is in its hands: nothing is sent twice on its account.
    assert verdict.requests == verdict.sent


def test_courier_that_slept_past_its_lease_changes_nothing_when_it_wakes(make_rig, dice):
    rig = make_rig(couriers=2)
    rig.witness.behave("slow", seconds=0.05)

    with rig.load(8, *PATHS) as load:
        for sleeper in rig.couriers:
            pause(0.5 + dice.random())
            sleeper.send(signal.SIGSTOP)
            pause(LEASE_S + 2.0)
            sleeper.send(signal.SIGCONT)
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()


def test_all_couriers_asleep_past_their_leases_deliver_when_they_wake(make_rig):
    rig = make_rig(couriers=2)

    with rig.load(6, *PATHS) as load:
        pause(0.5)
        for sleeper in rig.couriers:
            sleeper.send(signal.SIGSTOP)
        pause(LEASE_S + 2.0)
        for sleeper in rig.couriers:
            sleeper.send(signal.SIGCONT)
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
def test_courier_whose_clock_is_an_hour_off_may_delay_and_never_doubles(make_rig, ahead_s):
    rig = make_rig()
    rig.witness.behave("slow", seconds=0.02)
    rig.couriers.append(Courier(rig.daemon, ahead_s=ahead_s))

    with rig.load(8, *PATHS) as load:
        pause(6.0)
    rig.couriers.pop().kill()
    # What the courier with the late clock took is free when its lease has passed by the right one.
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)


def test_gateway_whose_clock_runs_an_hour_ahead_may_delay_and_never_doubles(make_rig):
    rig = make_rig()

    with rig.load(6, *PATHS) as load:
        for ahead_s in (3600.0, 0.0):
            pause(1.5)
            rig.restart_gateway(ahead_s=ahead_s)
        pause(1.5)
    # What it accepted meanwhile is due in an hour, or at once for a courier whose clock agrees with it.
    rig.couriers.append(Courier(rig.daemon, ahead_s=3600.0))
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
