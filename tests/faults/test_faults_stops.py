"""Orderly stops under load, and couriers that stand still for longer than their lease."""

import signal

import pytest
from fault_ledger import Ledger
from fault_rig import LEASE_S, Courier, pause
from fault_verdict import assert_applied_once

pytestmark = pytest.mark.faults

# Far longer than a busy machine keeps the upstream from the processor: what had no answer in time is sent again.
TIMEOUT = "10s"
PATHS = ["/v1/lanes/{lane}", "/v1/crowd", "/v1/ready/{lane}"]


def test_sigterm_of_gateway_and_courier_under_load_loses_nothing(make_rig, dice, cycles):
    rig = make_rig(timeout=TIMEOUT)
    rig.witness.behave("slow", seconds=0.05)

    with rig.load(8, *PATHS) as load:
        for _ in range(max(2, cycles // 4)):
            rig.wait_progress()
            pause(dice.random())
            assert rig.couriers[0].stop() == 0
            assert rig.daemon.stop() == 0
            rig.daemon.start()
            rig.couriers[0].start()
            rig.daemon.wait_ready()
    rig.ledger.wait_drained()

    verdict = assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()
    # Who is asked to end finishes what is in its hands: nothing is sent twice on its account.
    assert verdict.requests == verdict.sent


def test_courier_that_slept_past_its_lease_changes_nothing_when_it_wakes(make_rig, dice):
    places = 8
    rig = make_rig(couriers=2, concurrency=places, timeout=TIMEOUT)
    rig.witness.behave("slow", seconds=0.05)

    with rig.load(8, *PATHS) as load:
        for sleeper in rig.couriers:
            pause(0.5 + dice.random())
            sleeper.send(signal.SIGSTOP)
            pause(LEASE_S + 2.0)
            sleeper.send(signal.SIGCONT)
    rig.ledger.wait_drained()

    verdict = assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()
    # What was on its way when a courier fell asleep was sent again by the other one.
    assert verdict.requests - verdict.sent <= 2 * places


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
    rig = make_rig(timeout=TIMEOUT)
    rig.witness.behave("slow", seconds=0.02)
    rig.couriers.append(Courier(rig.daemon, ahead_s=ahead_s))

    with rig.load(8, *PATHS) as load:
        pause(6.0)
    # What a courier with an early clock lets go next is due in an hour for the other one.
    rig.ledger.wait_drained()
    assert rig.couriers.pop().stop() == 0

    verdict = assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()
    assert verdict.requests == verdict.sent


def test_gateway_whose_clock_runs_an_hour_ahead_may_delay_and_never_doubles(make_rig):
    rig = make_rig(timeout=TIMEOUT)

    with rig.load(6, *PATHS) as load:
        for ahead_s in (3600.0, 0.0):
            pause(1.5)
            rig.restart_gateway(ahead_s=ahead_s)
        pause(1.5)
    # What it accepted meanwhile is due in an hour, or at once for a courier whose clock agrees with it.
    rig.couriers.append(Courier(rig.daemon, ahead_s=3600.0))
    rig.ledger.wait_drained()

    verdict = assert_applied_once(load.writes, rig.witness.log)
    assert verdict.requests == verdict.sent


@pytest.mark.postgres
@pytest.mark.parametrize("ahead_s", [-600.0, -60.0, 60.0, 600.0])
def test_courier_of_a_host_with_another_clock_neither_delays_nor_doubles_on_postgresql(
    postgresql, postgresql_url, make_rig, ahead_s
):
    rig = make_rig(settings=f"[store]\nurl = {postgresql_url}\n", timeout=TIMEOUT)
    rig.ledger = Ledger.of_postgresql(postgresql, postgresql_url)
    rig.witness.behave("slow", seconds=0.2)
    rig.couriers.append(Courier(rig.daemon, ahead_s=ahead_s))

    with rig.load(8, *PATHS) as load:
        pause(6.0)
    # Either courier may have done what is before something of the other's.
    rig.ledger.wait_drained(40.0)

    verdict = assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()
    assert verdict.requests == verdict.sent
    assert "leases of others ran out" not in rig.couriers[0].log()
