"""A client is disabled while its writes wait and processes are killed: they wait until it is enabled, and go once."""

import json

import pytest
from fault_kills import KILLS, kill
from fault_rig import LEASE_S, pause
from fault_verdict import REPORT, applied, assert_applied_once
from running import eventually

pytestmark = pytest.mark.faults

PATHS = ["/v1/lanes/{lane}", "/v1/crowd"]
CLIENT = "rival"


def states(rig, whose):
    """Return how many of CLIENT's transactions, or of the *others*', are in each state."""
    sign = "=" if whose == CLIENT else "!="
    found = rig.ledger.ask(f"SELECT state, count(*) FROM transactions WHERE client {sign} '{CLIENT}' GROUP BY state")
    return dict(found)


def disable(rig, dice):
    """Disable CLIENT by the command, while something is killed before and after; return what the command said."""
    kill(rig, dice, ["courier", "worker"], 1)
    said = rig.daemon.entrepot("client", "disable", CLIENT, "--json").stdout
    for victim in dice.sample(["courier", "courier", "worker", "master"], 3):
        pause(dice.random() * 0.5)
        KILLS[victim](rig, dice)
    rig.daemon.wait_ready()
    return json.loads(said)


def test_work_of_a_client_that_is_disabled_under_kills_is_held_and_goes_once_when_it_is_enabled(make_rig, dice, cycles):
    rig = make_rig(couriers=2, concurrency=4)
    writes, held = [], 0

    for _ in range(max(2, cycles // 4)):
        rig.witness.behave("refuses")
        with rig.load(6, *PATHS, count=60) as load:
            pass
        writes += load.writes
        theirs = {write.key for write in writes if write.client == CLIENT}
        rig.witness.behave("slow", seconds=0.1)
        assert disable(rig, dice)["held"] > 0
        # What a courier was at work on then came to an end, or was held when its lease ran out.
        assert eventually(lambda: states(rig, CLIENT).keys() <= {"held", "delivered"}, 60.0, 0.1), states(rig, CLIENT)
        waiting, sent = states(rig, CLIENT)["held"], len(applied(rig.witness.log, theirs))
        rig.kill_courier(dice.randrange(8))
        assert eventually(lambda: states(rig, "others").keys() == {"delivered"}, 60.0, 0.1), states(rig, "others")
        pause(LEASE_S)
        assert (states(rig, CLIENT)["held"], len(applied(rig.witness.log, theirs))) == (waiting, sent)

        held += waiting
        rig.daemon.entrepot("client", "enable", CLIENT)
        KILLS["courier"](rig, dice)
        rig.ledger.wait_drained()

    REPORT.append(f"{held} held and let go")
    assert_applied_once(writes, rig.witness.log)
    rig.assert_alive()
