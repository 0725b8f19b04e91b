"""Breaker and concurrency of an upstream hold over all workers, and another upstream feels nothing of them."""

import threading
import time

from running import eventually
from upstream import answers, gated, message, resets


def test_breaker_opens_for_all_workers_leaves_the_upstream_alone_and_recovers(gateway, upstream, name):
    path = f"/brittle/{name}"
    upstream.plan(path, resets())
    with gateway.one_wire_for_each_worker() as wires:
        head = gateway.head("GET", f"/v1{path}", token="shop")

        def ask(wire):
            wire.send(head)
            return wire.answer()

        failed = [ask(wires[0]).status for _ in range(3)]
        asked = len(upstream.seen_at(path))
        refused = [ask(wire) for wire in wires for _ in range(3)]
        asked_after = len(upstream.seen_at(path))
        upstream.plan(path, answers(b"well again"))
        recovered = eventually(lambda: ask(wires[-1]).status == 200, 2.5, 0.1)
        after = [ask(wire).status for wire in wires for _ in range(3)]

    assert set(failed) == {503}
    assert asked_after == asked, "the open breaker let requests through"
    assert {answer.status for answer in refused} == {503}
    assert all(int(answer.header("retry-after")) >= 1 for answer in refused)
    assert recovered, "the breaker stays open"
    assert set(after) == {200}


def test_half_open_breaker_sends_one_probe_at_a_time(gateway, upstream, name):
    path = f"/brittle/{name}"
    upstream.plan(path, resets())
    for _ in range(3):
        gateway.call("GET", f"/v1{path}", token="shop")
    gate = threading.Event()
    upstream.plan(path, gated(gate))
    before = len(upstream.seen_at(path))
    time.sleep(0.85)

    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(gateway.call("GET", f"/v1{path}", token="shop").status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) == 7, 1.0)
    probes = len(upstream.seen_at(path)) - before
    gate.set()
    for thread in threads:
        thread.join()

    assert probes == 1
    assert sorted(statuses) == [200, *[503] * 7]
    assert eventually(lambda: gateway.call("GET", f"/v1{path}", token="shop").status == 200, 2.0)


def at_once(gateway, target, count):
    """Return status, seconds and answer of *count* requests sent at the same time."""
    found = []

    def ask():
        begun = time.monotonic()
        answer = gateway.call("GET", target, token="shop")
        found.append((answer.status, time.monotonic() - begun, answer))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_concurrency_is_bounded_over_all_workers_and_the_rest_wait(gateway, upstream, name):
    running, most, lock = [0], [0], threading.Lock()

    def script(request):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        request.send(message(b"{}"))

    upstream.plan(f"/narrow/{name}", script)

    found = at_once(gateway, f"/v1/narrow/{name}", 8)

    assert [status for status, _, _ in found] == [200] * 8
    assert most[0] == 2


def test_who_waits_too_long_or_beyond_the_queue_is_told_to_come_again(gateway, upstream, name, assert_problem):
    gate = threading.Event()
    upstream.plan(f"/narrow/{name}", gated(gate))
    opener = threading.Timer(1.0, gate.set)
    opener.start()

    found = at_once(gateway, f"/v1/narrow/{name}", 20)
    opener.join()

    refused = [(took_s, answer) for status, took_s, answer in found if status != 200]
    assert len(found) - len(refused) == 2
    assert len(upstream.seen_at(f"/narrow/{name}")) == 2
    for _, answer in refused:
        assert_problem(answer, 503, "upstream-busy", alive=False)
    at_once_refused = [took_s for took_s, _ in refused if took_s < 0.2]
    assert len(at_once_refused) >= 20 - 2 - 6 * 2
    assert all(took_s < 0.9 for took_s, _ in refused)
    assert_problem.serves()


def test_full_upstream_does_not_hinder_another(gateway, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/narrow/{name}", gated(gate))
    threads = [
        threading.Thread(target=gateway.call, args=("GET", f"/v1/narrow/{name}"), kwargs={"token": "shop"})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    statuses = {gateway.call("GET", "/v1/echo/free", token="shop").status for _ in range(10)}
    took_s = time.monotonic() - begun
    gate.set()
    for thread in threads:
        thread.join()

    assert statuses == {200}
    assert took_s < 0.5
