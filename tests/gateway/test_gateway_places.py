"""Breaker and concurrency of an upstream hold over all workers, and another upstream feels nothing of them."""

import threading
import time
from contextlib import ExitStack, contextmanager

from running import eventually
from upstream import answers, gated, message, resets

from timing import least_s


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
        recovered = eventually(lambda: ask(wires[-1]).status == 200, every_s=0.1)
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
    assert eventually(lambda: gateway.call("GET", "/status").json()["upstreams"]["brittle"]["breaker"] == "half-open")

    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(gateway.call("GET", f"/v1{path}", token="shop").status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) == 7, 5.0)
    probes = len(upstream.seen_at(path)) - before
    gate.set()
    for thread in threads:
        thread.join()

    assert probes == 1
    assert sorted(statuses) == [200, *[503] * 7]
    assert eventually(lambda: gateway.call("GET", f"/v1{path}", token="shop").status == 200)


@contextmanager
def at_once(gateway, target, count):
    """Yield the answers to *count* requests sent at the same time, a list that grows; all are there at the end."""
    found, head = [], gateway.head("GET", target, token="shop")
    with ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire()) for _ in range(count)]
        threads = [threading.Thread(target=lambda wire=wire: found.append(wire.answer())) for wire in wires]
        for wire in wires:
            wire.send(head)
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            for thread in threads:
                thread.join()


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

    upstream.plan(f"/lane/{name}", script)

    with at_once(gateway, f"/v1/lane/{name}", 8) as found:
        pass

    assert [answer.status for answer in found] == [200] * 8
    assert most[0] == 2


def test_who_waits_too_long_or_beyond_the_queue_is_told_to_come_again(gateway, upstream, name, assert_problem):
    gate = threading.Event()
    upstream.plan(f"/narrow/{name}", gated(gate))

    with at_once(gateway, f"/v1/narrow/{name}", 20) as found:
        told_in_time = eventually(lambda: len(found) == 18, 5.0)
        gate.set()

    refused = [answer for answer in found if answer.status != 200]
    assert told_in_time
    assert len(found) - len(refused) == 2
    assert len(upstream.seen_at(f"/narrow/{name}")) == 2
    details = [assert_problem(answer, 503, "upstream-busy", alive=False)["detail"] for answer in refused]
    at_once_refused = [detail for detail in details if "wait for a place" in detail]
    assert len(at_once_refused) >= 20 - 2 - 6 * 2
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

    def ask_s():
        begun = time.monotonic()
        statuses.update(gateway.call("GET", "/v1/echo/free", token="shop").status for _ in range(10))
        return time.monotonic() - begun

    statuses = set()
    took_s = least_s(ask_s, 0.5)
    gate.set()
    for thread in threads:
        thread.join()

    assert statuses == {200}
    assert took_s < 0.5
