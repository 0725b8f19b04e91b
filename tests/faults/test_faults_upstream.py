"""An upstream that misbehaves after it has applied a write, or before."""

import time

import pytest
from fault_rig import pause
from fault_verdict import assert_applied_once
from running import eventually

pytestmark = pytest.mark.faults

PATHS = ["/v1/lanes/{lane}", "/v1/crowd", "/v1/ready/{lane}"]
BEHAVIOURS = {
    "answers after the time-out": {"mode": "slow", "seconds": 0.8, "share": 0.3},
    "closes after the body": {"mode": "closes", "share": 0.5},
    "500 after applying": {"mode": "fails", "share": 0.5},
    "hangs": {"mode": "hangs", "share": 0.3},
    "refuses": {"mode": "refuses"},
    "flaps": {"mode": "flaps"},
}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_upstream_that_misbehaves_gets_each_write_under_one_key(make_rig, dice, name):
    rig = make_rig()

    with rig.load(8, *PATHS) as load:
        rig.wait_progress()
        rig.witness.behave(**BEHAVIOURS[name], seed=dice.random())
        pause(4.0)
        rig.witness.behave("ok")
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()


def test_open_breaker_burns_no_attempts(make_rig):
    rig = make_rig(breaker={"failures": 3, "open": "2s"}, concurrency=4)
    rig.witness.behave("refuses")

    with rig.load(4, "/v1/crowd", count=50, pause_s=0.0) as load:
        pause(5.0)
    attempts = rig.ledger.ask("SELECT count(*) FROM attempts")[0][0]
    rig.witness.behave("ok")
    rig.ledger.wait_drained()

    # Three open it while four are on their way, then one goes at each end of two seconds.
    assert attempts <= 3 + 4 + 4, attempts
    assert_applied_once(load.writes, rig.witness.log)


def test_write_that_no_attempt_can_deliver_holds_up_nobody_else(make_rig):
    rig = make_rig()
    poison = {422: [], 500: []}
    for status, ids in poison.items():
        for _ in range(5):
            body = {"key": f"poison-{status}", "lane": f"poison-{status}", "number": 0, "poison": status}
            answer = rig.daemon.call_json("POST", f"/v1/lanes/poison-{status}", body, token="shop")
            assert answer.status == 202, answer.body
            ids.append(answer.data["transaction"])

    with rig.load(8, *PATHS, count=40) as load:
        pause(1.0)
    done = {write.key for write in load.writes}
    assert eventually(lambda: len(applied_of(rig, done)) == len(done), 30.0, 0.2)

    assert_applied_once(load.writes, rig.witness.log)
    # A fault of the record is final at once, and holds those behind it; one that may pass is tried again.
    [first, *_] = poison[422]
    dead = rig.daemon.call("GET", f"/transactions/{first}", token="shop")
    assert dead.data["state"] == "dead", dead.data
    assert set(rig.ledger.states()) <= {"delivered", "dead", "queued", "waiting", "sending"}


def applied_of(rig, keys):
    """Return those of *keys* that the witness has applied."""
    text = rig.witness.log.read_text(encoding="utf-8") if rig.witness.log.exists() else ""
    return {key for key in keys if key in text}


def test_backlog_drains_when_the_upstream_comes_back(make_rig, dice):
    rig = make_rig()
    rig.witness.behave("refuses")
    with rig.load(8, *PATHS, count=150, pause_s=0.0) as load:
        pass
    assert sum(rig.ledger.unfinished().values()) == len(load.writes)

    rig.witness.behave("ok")
    assert eventually(lambda: rig.witness.count() > 0, 5.0), "nothing was delivered within five seconds"
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)


def test_backlog_of_one_partner_does_not_keep_another_waiting(make_rig):
    rig = make_rig(concurrency=4)
    rig.witness.behave("refuses")
    with rig.load(6, "/v1/crowd", client="shop", count=500, pause_s=0.0, hangs_up=0.0):
        pass
    rig.witness.behave("slow", seconds=0.02)
    rig.wait_progress()

    begun = time.monotonic()
    with rig.load(2, "/v1/crowd", client="rival", count=10, pause_s=0.0, hangs_up=0.0) as theirs:
        pass
    keys = {write.key for write in theirs.writes}
    served = eventually(lambda: applied_of(rig, keys) == keys, 5.0, 0.05)
    took_s = time.monotonic() - begun

    assert served
    assert sum(rig.ledger.unfinished().values()) > 500, f"after {took_s:.1f} s nothing was left to wait behind"
