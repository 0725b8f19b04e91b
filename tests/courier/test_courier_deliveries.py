"""Work that was accepted reaches its upstream: once, in order, in turn."""

import json
import random
import threading
import time

import pytest
from stand import Receiver, Reply, cpu_s, eventually, relay_catalog

from timing import least_s

pytestmark = pytest.mark.slow


def test_work_is_delivered_with_its_key_and_the_answer_is_kept(stand, receiver):
    (id_,) = stand.put('{"note": 1}')

    stand.run()
    stand.wait_state([id_], "delivered")

    assert receiver.keys == [id_]
    assert receiver.bodies == ['{"note": 1}']
    sight = stand.sight(id_)
    assert (sight.applied, sight.attempts, sight.answer.status, sight.answer.body) == ("yes", 1, 200, b'{"ok":true}')
    assert [(tried.outcome, tried.status) for tried in sight.tries] == [("delivered", 200)]


def test_new_work_is_noticed_at_once(stand, receiver):
    stand.run()
    stand.wait_state(stand.put("first"), "delivered")

    def took_s():
        began = time.monotonic()
        stand.wait_state(stand.put("next"), "delivered")
        return receiver.received[-1].at - began

    assert least_s(took_s, 0.3) < 0.3


def test_order_is_kept_for_each_key_and_keys_do_not_wait_for_each_other(stand, receiver):
    receiver.script = lambda _: time.sleep(random.random() * 0.02) or Reply()
    ids = [id_ for n in range(20) for key in "abc" for id_ in stand.put(f"{key}{n:02}", order_key=key * 64)]

    stand.run()
    stand.wait_state(ids, "delivered")

    for key in "abc":
        assert [body for body in receiver.bodies if body[0] == key] == [f"{key}{n:02}" for n in range(20)]
    assert len(receiver.bodies) == 60
    assert receiver.bodies != sorted(receiver.bodies)


def test_a_dead_head_holds_its_followers_and_nobody_else(stand, receiver):
    receiver.script = lambda request: Reply(422, b'{"why":"no"}') if request.body == b"bad" else Reply()
    (head,) = stand.put("bad", order_key="k" * 64)
    followers = stand.put("one", "two", order_key="k" * 64)
    others = stand.put("three", order_key="l" * 64)

    stand.run()
    stand.wait_state([head], "dead")
    stand.wait_state(others, "delivered")
    stand.wait_state(stand.put("four", order_key="m" * 64), "delivered")

    assert stand.states(followers) == ["queued", "queued"]
    sight = stand.sight(head)
    assert (sight.applied, sight.problem["code"], sight.attempts) == ("no", "upstream-rejected", 1)


def test_partners_are_served_in_turn(stand, receiver):
    receiver.script = lambda _: time.sleep(0.005) or Reply()
    many = stand.put(*(f"acme{n}" for n in range(300)))
    few = stand.put(*(f"bolt{n}" for n in range(5)), partner="bolt")

    stand.run()
    stand.wait_state(few, "delivered")

    last = max(place for place, body in enumerate(receiver.bodies) if body.startswith("bolt"))
    assert last < 100
    stand.wait_state(many, "delivered")


def test_maintenance_holds_deliveries_and_its_end_lets_them_go(stand, receiver):
    stand.hold()
    ids = stand.put("one", "two")
    stand.run()

    assert eventually(lambda: "courier delivers" in stand.log())
    time.sleep(1.2)
    assert receiver.received == []

    stand.release()
    stand.wait_state(ids, "delivered")


def test_what_found_no_place_before_maintenance_is_given_back(bare_stand, receiver):
    bare_stand.apply(relay_catalog(receiver.url, timeout="60s"))
    gate = threading.Event()
    receiver.script = lambda _: Reply() if gate.wait(60) else None
    ids = bare_stand.put(*(str(n) for n in range(20)))
    bare_stand.run()
    assert eventually(lambda: (len(receiver.received), bare_stand.states(ids).count("sending")) == (8, 10))

    bare_stand.entrepot("maintenance", "on")

    assert eventually(lambda: bare_stand.states(ids).count("sending") == 8)
    assert json.loads(bare_stand.entrepot("maintenance", "status", "--json"))["in_flight"] == 8
    gate.set()
    bare_stand.wait_state(receiver.keys[:8], "delivered")
    assert len(receiver.received) == 8
    bare_stand.entrepot("maintenance", "off")
    bare_stand.wait_state(ids, "delivered")
    assert sum(bare_stand.sight(id_).attempts for id_ in ids) == 20


def test_an_open_breaker_burns_no_attempts_and_the_return_is_noticed(bare_stand, free_port):
    bare_stand.apply(
        relay_catalog(f"http://127.0.0.1:{free_port}", breaker={"failures": 3, "open": "60s"}, concurrency=4)
    )
    ids = bare_stand.put(*map(str, range(40)))
    bare_stand.run()

    assert eventually(lambda: sum(bare_stand.sight(id_).attempts for id_ in ids) >= 3)
    time.sleep(1.5)
    attempts = sum(bare_stand.sight(id_).attempts for id_ in ids)
    assert attempts <= 3 + 4

    receiver = Receiver(free_port)
    try:
        assert eventually(lambda: receiver.received, 5)
        bare_stand.wait_state(ids, "delivered")
    finally:
        receiver.close()
    assert sum(bare_stand.sight(id_).attempts for id_ in ids) == attempts + 40


@pytest.mark.alone
def test_an_idle_courier_costs_nothing(stand):
    courier = stand.run()
    stand.wait_state(stand.put("one"), "delivered")
    time.sleep(1)

    before = cpu_s(courier)
    time.sleep(5)

    assert cpu_s(courier) - before < 0.1
