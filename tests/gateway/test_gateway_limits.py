"""Rate limits hold over all workers, say what is left, and let through what was promised."""

import json
import re
import threading
import time

import pytest
from catalogs import ALL_SCOPES, AZURE

from timing import stay_within_a_day

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


def test_a_quota_holds_over_both_workers_and_a_restart_and_is_told_beside_the_rate(make_daemon):
    gateway = make_daemon()
    stay_within_a_day()
    answers = []
    with gateway.one_wire_for_each_worker() as wires:
        for _ in range(2):
            for wire in wires:
                wire.send(gateway.head("GET", "/v1/echo/planned", token="planned"))
                answers.append(wire.answer())
    gateway.stop()
    gateway.start()
    gateway.wait_ready()
    answers += [gateway.call("GET", "/v1/rated", token="planned") for _ in range(2)]

    assert [answer.status for answer in answers] == [200] * 6
    assert [_left(answer, "day") for answer in answers] == [5, 4, 3, 2, 1, 0]
    assert answers[0].header("ratelimit-policy") == '"burst";q=20;w=1, "day";q=6;w=86400'
    assert _left(answers[-1], "endpoint") < 10

    refused = gateway.call("GET", "/v1/echo/planned", token="planned")
    assert (refused.status, refused.header("content-type")) == (429, "application/problem+json")
    assert "quota of the day" in json.loads(refused.body)["detail"]
    until_midnight = 86_400 - time.time() % 86_400
    assert abs(int(refused.header("retry-after")) - until_midnight) < 3
    assert _left(refused, "day") == 0
    assert gateway.call("GET", "/v1/echo/x", token="shop").status == 200


def test_answer_tells_of_all_policies_and_a_refusal_by_one_spares_those_after_it(gateway, upstream):
    stay_within_a_day()
    with gateway.wire() as wire:
        # At once: a burst that takes its time is given a new one meanwhile.
        wire.send(gateway.head("GET", "/v1/rated", token="planned") * 6)
        answers = [wire.answer() for _ in range(6)]
    passed, refused = ([answer for answer in answers if answer.status == status] for status in (200, 429))

    assert len(passed) + len(refused) == 6
    assert len(refused) >= 1
    for answer in answers:
        assert answer.header("ratelimit-policy") == '"burst";q=20;w=1, "endpoint";q=4;w=4, "day";q=6;w=86400'
        assert re.fullmatch(
            r'"burst";r=\d+;t=\d+, "endpoint";r=\d+;t=\d+, "day";r=\d+;t=\d+', answer.header("ratelimit")
        )
    assert {_left(answer, "endpoint") for answer in refused} == {0}
    for number, answer in enumerate(answers):
        before = [one.status for one in answers[:number]].count(200)
        assert _left(answer, "day") == 6 - before - (answer.status == 200)
    assert {answer.header("retry-after") for answer in refused} == {"1"}
    assert len(upstream.seen_at("/rated")) >= len(passed)
    assert "endpoint" in refused[-1].json()["detail"]


@pytest.fixture
def sparing(gateway, name):
    """A client of the test's own that may ask once in two seconds, and has not asked yet."""
    client, partner = f"c-{name}", f"p-{name}"
    clients = {client: {"scopes": ALL_SCOPES, "rate": {"per_second": 0.5, "burst": 1}}}
    spec = {"name": "Sparing", "values": {"contact": AZURE}, "clients": clients}
    gateway.bring_in(f"{name}.yaml", {"partners": {partner: spec}})
    gateway.tokens[client] = gateway.mint.client(client, partner, ALL_SCOPES)
    return client


def use_up(gateway, wire, client, target, last):
    """Use up the rate of the sparing *client*, and send *last* with that; its answer is the next."""
    wire.send(gateway.head("GET", target, token=client) + last)
    assert wire.answer().status == 200


def test_refused_write_reaches_nobody_and_goes_through_later_with_the_same_key(
    gateway, upstream, assert_problem, sparing, name
):
    line = f'Idempotency-Key: "{name}"'
    with gateway.wire() as wire:
        head = gateway.head("POST", f"/v1/echo/{name}", line, token=sparing, body=b"{}")
        use_up(gateway, wire, sparing, "/v1/echo/x", head)
        refused = wire.answer()
        sent = len(upstream.seen_at(f"/echo/{name}"))
        time.sleep(int(refused.header("retry-after")))
        wire.send(head)
        later = wire.answer()

    assert_problem(refused, 429, "too-many-requests")
    assert sent == 0
    assert later.status == 200
    assert len(upstream.seen_at(f"/echo/{name}")) == 1


def test_refusal_comes_before_the_body_and_the_connection_goes_on(gateway, assert_problem, sparing):
    with gateway.wire() as wire:
        post = gateway.head("POST", "/v1/echo/x", "Content-Type: text/plain", token=sparing, body=b"a" * 100_000)
        use_up(gateway, wire, sparing, "/v1/echo/x", post)
        assert_problem(wire.answer(), 429, "too-many-requests")
        wire.send(gateway.head("GET", "/v1/echo/x", token="shop"))
        assert wire.answer().status == 200


def test_limits_of_the_client_hold_for_its_transactions_too(gateway, assert_problem, sparing):
    with gateway.wire() as wire:
        use_up(gateway, wire, sparing, "/transactions", gateway.head("GET", "/transactions", token=sparing))
        refused = wire.answer()

    assert_problem(refused, 429, "too-many-requests")
    assert refused.header("ratelimit-policy") == '"burst";q=1;w=2'


def test_request_that_may_not_be_made_uses_up_nothing(gateway):
    before = limit_left(gateway)

    refused = [gateway.call("GET", "/v1/closed", token="steady") for _ in range(5)]

    assert {answer.status for answer in refused} == {403}
    assert limit_left(gateway) >= before - 1


def _left(answer, policy):
    return int(re.search(rf'"{policy}";r=(\d+)', answer.header("ratelimit"))[1])


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
    most = burst + per_second * (max(offered) - min(offered))
    assert 0.98 * promised(sorted(offered), per_second, burst) - 1 <= len(passed) <= most + 1


def promised(offered, per_second, burst):
    """Return how many of what was *offered* at these times a client must get, when it starts with its burst.

    A client that was kept from the processor has offered nothing meanwhile, and its burst is all that it has saved up.
    """
    left, count, before = burst, 0, offered[0]
    for at in offered:
        left = min(burst, left + (at - before) * per_second)
        before = at
        if left >= 1:
            left -= 1
            count += 1
    return count
