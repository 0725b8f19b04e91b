"""An upstream that misbehaves after it has applied a write, or before."""

import json
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_catalog import MAX_QUEUED, MAX_QUEUED_BYTES
from fault_rig import Courier, pause
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

    begun = time.monotonic()
    with rig.load(4, "/v1/crowd", count=50, pause_s=0.0) as load:
        pause(5.0)
    attempts = rig.ledger.ask("SELECT count(*) FROM attempts")[0][0]
    took_s = time.monotonic() - begun
    rig.witness.behave("ok")
    rig.ledger.wait_drained()

    # Three open it while four are on their way, then one goes at each end of two seconds.
    assert attempts <= 3 + 4 + 1 + math.ceil(took_s / 2.0), (attempts, took_s)
    assert_applied_once(load.writes, rig.witness.log)


def test_write_that_no_attempt_can_deliver_holds_up_nobody_else(make_rig):
    rig = make_rig()
    poison = {422: [], 500: [], "hangs": [], "closes": []}
    for kind, ids in poison.items():
        for _ in range(5):
            body = {"key": f"poison-{kind}", "lane": f"poison-{kind}", "number": 0, "poison": kind}
            answer = rig.daemon.call_json("POST", f"/v1/lanes/poison-{kind}", body, token="shop")
            assert answer.status == 202, answer.body
            ids.append(answer.data["transaction"])

    with rig.load(8, *PATHS, count=40) as load:
        pause(1.0)
    done = {write.key for write in load.writes}
    assert eventually(lambda: len(applied_of(rig, done)) == len(done), 90.0, 0.2)

    assert_applied_once(load.writes, rig.witness.log)
    # A fault of the record is final at once, and holds those behind it; one that may pass is tried again.
    heads = {kind: state_of(rig, ids[0]) for kind, ids in poison.items()}
    assert heads.pop(422) == "dead"
    assert set(heads.values()) <= {"waiting", "sending"}, heads
    assert {state_of(rig, id_) for ids in poison.values() for id_ in ids[1:]} == {"queued"}


def state_of(rig, id_):
    """Return the state that the partner is shown."""
    return rig.daemon.call("GET", f"/transactions/{id_}", token="shop").data["state"]


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
    served = eventually(lambda: applied_of(rig, keys) == keys, 60.0, 0.05)
    took_s = time.monotonic() - begun

    assert served
    assert sum(rig.ledger.unfinished().values()) > 500, f"after {took_s:.1f} s nothing was left to wait behind"


@pytest.mark.parametrize("body_bytes", [100, 10_000], ids=["many", "large"])
def test_partner_that_queues_too_much_is_refused_and_others_are_served_in_turn(make_rig, body_bytes):
    rig = make_rig(couriers=0)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: hoard(rig, number, body_bytes), range(MAX_QUEUED + 100)))
    [(count, size)] = rig.ledger.ask("SELECT sum(unfinished), sum(bytes) FROM queues WHERE partner = 'acme'")
    with rig.load(2, "/v1/crowd", client="rival", count=20, hangs_up=0.0) as theirs:
        pass
    rig.couriers.append(Courier(rig.daemon))
    rig.ledger.wait_drained()

    statuses = Counter(answer.status for answer in answers)
    assert statuses.keys() == {202, 429}
    assert statuses[202] == count
    assert {answer.json()["code"] for answer in answers if answer.status == 429} == {"too-much-queued"}
    assert count == MAX_QUEUED if body_bytes == 100 else MAX_QUEUED_BYTES - 2 * body_bytes < size <= MAX_QUEUED_BYTES
    assert {tuple(write.statuses) for write in theirs.writes} == {(202,)}
    # One of theirs for one of the other's, but for what was on its way already.
    keys = [json.loads(line)["key"] for line in rig.witness.log.read_text(encoding="utf-8").splitlines()]
    assert max(keys.index(write.key) for write in theirs.writes) < 2 * len(theirs.writes) + 64
    assert hoard(rig, MAX_QUEUED + 100, body_bytes).status == 202


def hoard(rig, number, body_bytes):
    """Return the answer to a write of the partner that may queue little."""
    body = {"key": f"hoarded-{number}", "lane": "hoarded", "number": number, "pad": "x" * body_bytes}
    return rig.daemon.call_json("POST", "/v1/crowd", body, token="hoarder")
