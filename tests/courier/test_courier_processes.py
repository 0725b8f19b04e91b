"""Couriers that are killed, stopped, asked to end, or are two."""

import os
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing

import pytest
from stand import PATIENCE_S, Reply, eventually, is_ready, relay_catalog

from timing import least_s

pytestmark = pytest.mark.slow


def stop(courier, stand):
    """Stop *courier* in mid-work, but not in a commit: nobody else could write then, and it would end by itself."""
    with stand.database.writing():
        os.kill(courier.pid, signal.SIGSTOP)


def test_a_courier_killed_in_mid_delivery_delivers_with_the_same_key_after_its_restart(stand, receiver):
    killed = threading.Event()
    receiver.script = lambda _: killed.wait(PATIENCE_S) and Reply()
    (id_,) = stand.put("one")
    courier = stand.run()
    assert eventually(lambda: receiver.received)

    courier.kill()
    courier.wait()
    killed.set()
    stand.run()
    stand.wait_state([id_], "delivered")

    assert receiver.keys == [id_, id_]
    assert stand.sight(id_).applied == "yes"


def test_nothing_is_settled_twice_by_a_courier_that_was_stopped_past_its_lease(stand, receiver):
    is_stopped = threading.Event()
    receiver.script = lambda _: is_stopped.wait(PATIENCE_S) and Reply()
    (id_,) = stand.put("one")
    stopped = stand.run()
    assert eventually(lambda: receiver.received)
    stop(stopped, stand)
    is_stopped.set()
    stand.run()
    stand.wait_state([id_], "delivered")

    os.kill(stopped.pid, signal.SIGCONT)
    (after,) = stand.put("two")
    stand.wait_state([after], "delivered")
    assert eventually(lambda: "a lease was lost, what came of it is dropped" in stand.log())

    sight = stand.sight(id_)
    assert receiver.keys.count(id_) == 2
    assert [tried.outcome for tried in sight.tries] == ["transient", "delivered"]
    assert f":{stopped.pid}" not in sight.tries[-1].courier


def test_a_courier_that_was_stopped_before_it_sent_sends_nothing_after_its_lease(bare_stand, receiver):
    bare_stand.apply(relay_catalog(receiver.url, concurrency=4))
    is_stopped = threading.Event()
    receiver.script = lambda _: is_stopped.wait(PATIENCE_S) and Reply()
    *ids, last = bare_stand.put("one", "two", "three", "four", "five")
    stopped = bare_stand.run()
    assert eventually(lambda: len(receiver.received) == 4)
    stop(stopped, bare_stand)
    is_stopped.set()
    assert bare_stand.sight(last).state == "sending"
    bare_stand.run()
    assert eventually(lambda: "leases of others ran out" in bare_stand.log())

    os.kill(stopped.pid, signal.SIGCONT)
    bare_stand.wait_state([*ids, last], "delivered")

    assert receiver.keys.count(last) == 1


def test_what_couriers_were_lost_with_is_delivered_with_nothing_beside_it(stand, receiver):
    in_flight, beside = [], []

    def script(request):
        in_flight.append(request.body)
        time.sleep(0.2)
        if b"suspect" in in_flight:
            beside.extend(body for body in in_flight if body != b"suspect")
        in_flight.remove(request.body)
        return Reply()

    receiver.script = script
    suspect = stand.put("suspect")
    stand.lose(suspect, 3)
    others = stand.put(*(str(n) for n in range(40)))

    stand.run()

    stand.wait_state(suspect + others, "delivered")
    assert beside == []
    assert len(receiver.received) == 41
    assert "it is tried alone" in stand.log()


def test_two_couriers_share_the_work(stand, receiver):
    stand.configure("[courier]\nlease = 60s\n")
    receiver.script = lambda _: time.sleep(0.02) or Reply()
    couriers = [stand.run(), stand.run()]
    assert eventually(lambda: stand.log().count("catalog in force") == 2)

    def shares():
        stand.hold()
        ids = stand.put(*map(str, range(200)))
        stand.release()
        stand.wait_state(ids, "delivered")
        assert sorted(receiver.keys[-200:]) == sorted(ids)
        return [sum(f":{one.pid}" in stand.sight(id_).tries[0].courier for id_ in ids) for one in couriers]

    # One that is kept from the processor meanwhile leaves the work to the other.
    found = [shares()]
    while min(found[-1]) <= 20 and len(found) < 3:
        found.append(shares())

    assert min(found[-1]) > 20
    assert {sum(each) for each in found} == {200}
    assert len(receiver.received) == 200 * len(found)


def test_a_courier_that_is_told_to_stop_finishes_what_is_in_flight_and_gives_the_rest_back(stand, receiver):
    stand.configure("[courier]\ngraceful_timeout = 20s\n")
    receiver.script = lambda _: time.sleep(0.3) or Reply()
    ids = stand.put(*map(str, range(40)))
    courier = stand.run()
    assert eventually(lambda: receiver.received)

    courier.terminate()
    assert courier.wait(5) == 0

    delivered = [id_ for id_ in ids if stand.sight(id_).state == "delivered"]
    assert sorted(receiver.keys) == sorted(delivered)
    left = [stand.sight(id_) for id_ in ids if id_ not in delivered]
    assert {(sight.state, sight.attempts) for sight in left} == {("queued", 0)}


def test_what_does_not_end_in_time_at_a_stop_is_given_back_as_unknown(stand, receiver):
    has_ended = threading.Event()
    receiver.script = lambda _: has_ended.wait(PATIENCE_S) and Reply()
    (id_,) = stand.put("one")
    courier = stand.run()
    assert eventually(lambda: receiver.received)

    courier.terminate()
    assert courier.wait(4) == 0
    has_ended.set()
    sight = stand.sight(id_)
    assert (sight.state, sight.applied) == ("waiting", "unknown")

    stand.run()
    stand.wait_state([id_], "delivered")


def test_an_idle_courier_ends_at_once(stand):
    def took_s():
        courier = stand.run()
        stand.wait_state(stand.put("one"), "delivered")
        began = time.monotonic()
        courier.terminate()
        assert courier.wait(PATIENCE_S) == 0
        return time.monotonic() - began

    assert least_s(took_s, 0.9) < 0.9


def test_what_came_of_a_delivery_is_noted_when_a_store_that_was_locked_past_the_lease_is_free_again(stand, receiver):
    locked = threading.Event()
    receiver.script = lambda _: locked.wait(PATIENCE_S) and Reply()
    (id_,) = stand.put("one")
    stand.run()
    assert eventually(lambda: receiver.received)

    with closing(sqlite3.connect(stand.directory / "store" / "entrepot.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(7)
        other.execute("ROLLBACK")

    stand.wait_state([id_], "delivered")
    assert receiver.keys == [id_]
    assert stand.sight(id_).attempts == 1


def test_all_daemons_run_and_stop_together(stand, receiver, free_port):
    parent = stand.run("all")
    stand.wait_state(stand.put("one"), "delivered")
    assert eventually(lambda: is_ready(free_port))

    parent.terminate()

    assert parent.wait(PATIENCE_S) == 0
    assert not is_ready(free_port)


def test_when_one_daemon_ends_the_others_are_stopped_and_the_exit_code_tells(stand, receiver, free_port):
    parent = stand.run("all")
    stand.wait_state(stand.put("one"), "delivered")
    assert eventually(lambda: is_ready(free_port))
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent.pid)], check=True, capture_output=True, text=True
    )
    courier = next(int(line.split()[0]) for line in children.stdout.splitlines() if "run courier" in line)

    os.kill(courier, signal.SIGKILL)

    assert parent.wait(PATIENCE_S) == 128 + signal.SIGKILL
    assert not is_ready(free_port)
