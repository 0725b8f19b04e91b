"""Rate limits hold over all workers, say what is left, and let through what was promised."""

import re
import threading
import time

import pytest

BURST, PER_SECOND = 10, 2


def rate_of(gateway, client):
    rate = gateway.document["partners"]["azure"]["clients"][client]["rate"]
    return rate["per_second"], rate["burst"]


def test_client_gets_its_burst_over_both_workers_and_then_429(gateway, assert_problem):
    begun = time.monotonic()
    answers = []
    with gateway.one_wire_for_each_worker() as wires:
        for _ in range(15):
            for wire in wires:
                wire.send(gateway.head("GET", "/v1/echo/metered", token="metered"))
                answers.append(wire.answer())
    took_s = time.monotonic() - begun

    passed = [answer for answer in answers if answer.status == 200]
    assert BURST <= len(passed) <= BURST + PER_SECOND * took_s + 1
    for answer in answers:
        if answer.status != 200:
            assert_problem(answer, 429, "too-many-requests", alive=False)
    assert_problem.serves()
    check_fields(answers)


def check_fields(answers):
    for answer in answers:
        policy = re.fullmatch(r'"(\w+)";q=(\d+);w=(\d+)', answer.header("ratelimit-policy"))
        limit = re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', answer.header("ratelimit"))
        assert policy is not None
        assert limit is not None
        assert policy[1] == limit[1]
        assert int(policy[2]) == BURST
        assert int(limit[2]) < BURST
        assert (int(limit[2]) == 0) or answer.status == 200
    left = [int(re.search(r"r=(\d+)", answer.header("ratelimit"))[1]) for answer in answers]
    assert left[0] == BURST - 1
    assert left[0] > left[4] > left[8]


def test_retry_after_is_true(gateway, assert_problem):
    answer = None
    for _ in range(20):
        answer = gateway.call("GET", "/v1/rated", token="shop")
        if answer.status == 429:
            break
    document = assert_problem(answer, 429, "too-many-requests")
    assert "endpoint" in document["detail"]

    time.sleep(int(answer.header("retry-after")))

    assert gateway.call("GET", "/v1/rated", token="shop").status == 200


def test_limit_of_an_endpoint_is_for_all_callers_together(gateway):
    statuses = [gateway.call("GET", "/v1/rated", token=client).status for client in ("shop", "rival", "reader") * 4]

    assert 429 in statuses
    assert gateway.call("GET", "/v1/echo/other", token="rival").status == 200


def test_client_without_a_rate_is_told_of_none(gateway):
    assert gateway.call("GET", "/v1/echo/x", token="shop").header("ratelimit") is None


def test_refused_token_costs_nobody_a_request(gateway):
    before = limit_left(gateway)
    for _ in range(5):
        gateway.call("GET", "/v1/echo/x", token=gateway.tokens["steady"][:-8] + "AAAAAAAA", source="127.50.0.1")

    assert limit_left(gateway) >= before - 1


def limit_left(gateway):
    answer = gateway.call("GET", "/v1/echo/x", token="steady")
    return int(re.search(r"r=(\d+)", answer.header("ratelimit"))[1])


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 15.0])
def test_any_window_holds_at_most_what_was_promised_and_98_percent_of_it(gateway, seconds):
    check_windows(gateway, seconds)


def check_windows(gateway, seconds):
    per_second, burst = rate_of(gateway, "steady")
    time.sleep(burst / per_second)
    passed: list[tuple[float, float]] = []
    offered: list[float] = []

    def offer(wire, until):
        head = gateway.head("GET", "/v1/echo/steady", token="steady")
        while time.monotonic() < until:
            sent = time.monotonic()
            offered.append(sent)
            wire.send(head)
            answer = wire.answer()
            assert answer.status in {200, 429}
            if answer.status == 200:
                passed.append((sent, time.monotonic()))
            time.sleep(0.005)

    with gateway.one_wire_for_each_worker() as wires:
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=offer, args=(wire, until)) for wire in wires]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    passed.sort(key=lambda times: times[1])
    for first in range(len(passed)):
        for last in range(first, len(passed), 7):
            # Each request was decided between its sending and its answer, so this window is the widest it can be.
            window_s = max(1.0, passed[last][1] - min(sent for sent, _ in passed[first : last + 1]))
            assert last - first + 1 <= burst + per_second * window_s + 1e-6
    promised = burst + per_second * (max(offered) - min(offered))
    assert 0.98 * promised - 1 <= len(passed) <= promised + 1
