"""Writes that are direct while the upstream is well, and become transactions when it is not: never two of one."""

import itertools
import json
import threading
import time
from contextlib import suppress

import pytest
from catalogs import MODELS
from ledgers import fixture, key, locked, row, rows
from problems import ProblemCheck
from running import eventually
from upstream import answers, gated, hangs, message, resets

from timing import least_s

own = fixture()


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


def post(own, path, *lines, token="shop", body=b"{}", **options):
    return own.call("POST", f"/v1{path}", "Content-Type: application/json", *lines, token=token, body=body, **options)


def looked_at(own, *accepted):
    """Return after how many seconds to look again at each of *accepted*, as GET says."""
    found = [own.call("GET", answer.header("location"), token="shop") for answer in accepted]
    return [int(answer.header("retry-after")) for answer in found]


def test_well_upstream_answers_directly_and_knows_the_transaction(own, upstream, name):
    answer = post(own, f"/auto/{name}")

    assert (answer.status, answer.json()["method"]) == (200, "POST")
    sent = upstream.seen_at(f"/auto/{name}")[0]
    assert sent.header("idempotency-key").strip('"') != ""
    assert sent.header("x-request-id") == answer.header("x-request-id")
    assert "for=127.0.0.1" in sent.header("forwarded")
    assert rows(own, target=f"POST /v1/auto/{name}") == []


def test_refused_record_is_answered_directly(own, upstream, name):
    upstream.plan(f"/auto/{name}", answers(b"no", status="422 Unprocessable Entity"))

    answer = post(own, f"/auto/{name}")

    assert (answer.status, answer.body) == (422, b"no")
    assert rows(own, target=f"POST /v1/auto/{name}") == []


def test_slow_write_becomes_the_same_transaction(own, upstream, name):
    gate, count = threading.Event(), itertools.count()

    def took_s():
        path, began = f"/hurry/{name}-{next(count)}", time.time()
        upstream.plan(path, gated(gate))
        answer = post(own, path)
        took_s = time.time() - began
        found = row(own, answer)
        assert (found["state"], found["applied"], found["attempts"]) == ("waiting", "unknown", 1)
        assert answer.data["state"] == "waiting"
        assert eventually(lambda: upstream.seen_at(path))
        assert upstream.seen_at(path)[0].header("idempotency-key") == f'"{found["id"]}"'
        # Not before the call that is under way must have ended.
        assert began + 10.0 <= found["due_at"] <= began + 16.0
        assert 10 <= int(answer.header("retry-after")) <= 16
        assert answer.header("preference-applied") is None
        return took_s

    least = least_s(took_s, 1.5)
    gate.set()

    assert 0.8 <= least < 1.5


def test_late_answer_changes_nothing_and_the_client_keeps_its_connection(own, upstream, name):
    given_up = threading.Event()

    def script(request):
        request.read_body()
        with suppress(ConnectionResetError):
            request.sock.recv(1)
        given_up.set()
        request.send(message(b"late"))

    upstream.plan(f"/hurry-prompt/{name}", script)
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/hurry-prompt/{name}", token="shop"))
        first = wire.answer()
        wire.send(own.head("GET", "/v1/plain/x", token="shop"))
        second = wire.answer()

    assert (first.status, second.status) == (202, 200)
    assert given_up.wait(10)
    assert row(own, first)["state"] == "waiting"


def test_answer_that_comes_after_the_patience_is_the_end_of_it_and_nothing_is_sent_again(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/hurry/{name}", gated(gate, b"late"))

    answer = post(own, f"/hurry/{name}")
    gate.set()

    assert answer.status == 202
    assert eventually(lambda: row(own, answer)["state"] == "delivered")
    told = own.call("GET", answer.header("location"), token="shop").data
    assert (told["applied"], told["result"]["status"], len(told["attempts"])) == ("yes", 200, 1)
    assert len(upstream.seen_at(f"/hurry/{name}")) == 1


def test_answer_that_comes_while_the_client_is_held_is_the_end_of_it_too(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/hurry-any/{name}", gated(gate, b"late"))

    answer = post(own, f"/hurry-any/{name}", token="rival")
    with own.services() as services:
        services.ledger.hold_client("rival")
        before = row(own, answer)["state"]
        gate.set()
        delivered = eventually(lambda: row(own, answer)["state"] == "delivered")
        services.ledger.release_client("rival", is_known=True)

    assert (before, delivered) == ("held", True)
    assert len(upstream.seen_at(f"/hurry-any/{name}")) == 1


@pytest.mark.parametrize(
    ("status", "outcome", "waits_s"),
    [("429 Too Many Requests", "transient", 30.0), ("422 Unprocessable Entity", "record", 0.0)],
)
def test_refusal_that_comes_after_the_patience_says_that_nothing_was_applied(
    own, upstream, name, status, outcome, waits_s
):
    gate = threading.Event()
    refusal = answers(b"no", f"retry-after: {waits_s:g}", status=status)
    upstream.plan(f"/hurry/{name}", lambda request: gate.wait(10) and refusal(request))

    answer = post(own, f"/hurry/{name}")
    before = row(own, answer)
    gate.set()

    assert (before["state"], before["applied"]) == ("waiting", "unknown")
    opened_at = time.time()
    assert eventually(lambda: row(own, answer)["applied"] == "no")
    after, told = row(own, answer), own.call("GET", answer.header("location"), token="shop").data
    assert (after["state"], after["rests_until"]) == ("waiting", None)
    assert opened_at - 2.5 <= after["due_at"] - waits_s <= time.time() + 2.5
    assert [tried["outcome"] for tried in told["attempts"]] == [outcome]
    assert own.call("DELETE", answer.header("location"), token="shop").status == 204


@pytest.mark.parametrize(
    ("script", "state", "applied"),
    [
        (resets(), "waiting", "unknown"),
        (answers(b"", status="500 Internal Server Error"), "waiting", "unknown"),
        (answers(b"", "retry-after: 40", status="503 Service Unavailable"), "waiting", "unknown"),
        (answers(b"", "retry-after: 40", status="429 Too Many Requests"), "waiting", "no"),
    ],
)
def test_failure_of_the_upstream_becomes_a_transaction_at_once(own, upstream, name, script, state, applied):
    upstream.plan(f"/any/{name}", script)

    answer = post(own, f"/any/{name}")

    found = row(own, answer)
    assert (found["state"], found["applied"]) == (state, applied)
    told = own.call("GET", answer.header("location"), token="shop").data
    assert [tried["outcome"] for tried in told["attempts"]] == ["transient"]
    assert upstream.seen_at(f"/any/{name}")[0].header("idempotency-key") == f'"{found["id"]}"'


def test_retry_after_of_the_upstream_is_kept(own, upstream, name):
    upstream.plan(f"/any/{name}", answers(b"", "retry-after: 40", status="503 Service Unavailable"))

    answer = post(own, f"/any/{name}")

    assert row(own, answer)["due_at"] >= time.time() + 35
    assert 36 <= int(answer.header("retry-after")) <= 42


def test_follower_is_told_to_come_again_when_what_it_waits_for_is_tried(own, upstream, name):
    upstream.plan(f"/auto/{name}", answers(b"", "retry-after: 40", status="503 Service Unavailable"))
    post(own, f"/auto/{name}")

    follower, second = post(own, f"/auto/{name}"), post(own, f"/auto/{name}", "Prefer: respond-async")

    assert row(own, follower)["due_at"] is None
    assert [36 <= int(answer.header("retry-after")) <= 42 for answer in (follower, second)] == [True, True]
    assert [35 <= told <= 42 for told in looked_at(own, follower, second)] == [True, True]


def test_upstream_that_is_away_queues_what_was_never_sent(own, name):
    answer = post(own, f"/absent/{name}")

    found = row(own, answer)
    assert (found["state"], found["applied"], found["attempts"]) == ("queued", "no", 0)


def test_open_breaker_queues_without_a_call(own, upstream, name):
    upstream.plan(f"/fragile/{name}", resets())
    post(own, f"/fragile/{name}")
    upstream.plan(f"/fragile/{name}", answers(b"well"))

    answers_ = [post(own, f"/fragile/{name}") for _ in range(3)]

    assert [answer.status for answer in answers_] == [202] * 3
    assert len(upstream.seen_at(f"/fragile/{name}")) == 1
    assert {row(own, answer)["applied"] for answer in answers_} == {"no"}
    assert 10 <= int(answers_[0].header("retry-after")) <= 20
    assert [10 <= told <= 20 for told in looked_at(own, *answers_)] == [True] * 3


@pytest.mark.slow
def test_maintenance_queues_without_a_call(own, upstream, name):
    own.entrepot("maintenance", "on", "--until", "20s")
    try:
        held = post(own, f"/any/{name}")
        (told,) = looked_at(own, held)
    finally:
        own.entrepot("maintenance", "off")
    after = post(own, f"/any/{name}")

    assert row(own, held)["state"] == "queued"
    assert 10 <= told <= int(held.header("retry-after")) <= 20
    assert after.status == 200
    assert len(upstream.seen_at(f"/any/{name}")) == 1


def test_no_free_place_queues_what_was_never_sent(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/tight/{name}-slow", gated(gate))
    try:
        with own.wire() as first, own.wire() as second:
            first.send(own.head("POST", f"/v1/tight/{name}-slow", token="shop"))
            assert eventually(lambda: upstream.seen_at(f"/tight/{name}-slow"), 10.0)
            # Of these one waits for the place, and there is no room for the other.
            second.send(own.head("POST", f"/v1/tight/{name}-waits", token="shop"))
            full = post(own, f"/tight/{name}-full")
            waited = second.answer()
            sent = first.answer()
        applied = [row(own, each)["applied"] for each in (sent, waited, full)]
    finally:
        gate.set()

    assert applied == ["unknown", "no", "no"]
    # Whoever still waited for the place would have it before this one.
    assert eventually(lambda: post(own, f"/tight/{name}-after").status == 200, 10.0)
    others = [upstream.seen_at(f"/tight/{name}-{each}") for each in ("waits", "full")]
    assert others == [[], []], "what became a transaction was sent all the same"


def test_nothing_overtakes_unfinished_work_of_the_same_key(own, upstream, name):
    upstream.plan(f"/auto/{name}", resets())
    first = post(own, f"/auto/{name}")
    upstream.plan(f"/auto/{name}", answers(b"well"))

    second, third = post(own, f"/auto/{name}"), post(own, f"/auto/{name}", key(name))
    other = post(own, f"/auto/{name}-other")
    foreign = post(own, f"/auto/{name}", token="rival")

    assert [second.status, third.status, other.status, foreign.status] == [202, 202, 200, 200]
    followers = [row(own, second), row(own, third)]
    assert {each["order_key"] for each in followers} == {row(own, first)["order_key"]}
    assert [each["due_at"] for each in followers] == [None, None]
    assert len(upstream.seen_at(f"/auto/{name}")) == 2


def test_creation_and_confirmation_by_the_partners_reference_are_one_order(own, name):
    order = {"reference": name, "lines": [{"product": "FURN_7777", "quantity": 1}]}

    made = own.call_json("POST", "/v1/auto-orders", order, "Prefer: respond-async", token="shop")
    confirmed = own.call("POST", f"/v1/auto-orders/{name}/confirm", token="shop")
    aliased = own.call_json("PATCH", f"/v1/later-orders/{name}", {"note": "x"}, token="shop")

    assert [made.status, confirmed.status, aliased.status] == [202, 202, 202]
    keys = {row(own, answer)["order_key"] for answer in (made, confirmed, aliased)}
    assert len(keys) == 1
    assert None not in keys
    assert row(own, confirmed)["due_at"] is None


def test_they_are_one_order_too_when_only_one_of_them_binds_records_to_the_caller(own, name):
    made = own.call_json("POST", "/v1/bound-orders", {"reference": name}, token="shop")
    confirmed = own.call("POST", f"/v1/free-orders/{name}/confirm", token="shop")

    assert row(own, made)["order_key"] == row(own, confirmed)["order_key"] is not None


def test_records_that_are_bound_to_the_caller_are_in_order_for_each_partner(own, name):
    order = {"reference": name, "lines": []}

    made, foreign = (
        own.call_json("POST", "/v1/auto-orders", order, "Prefer: respond-async", token=token)
        for token in ("shop", "rival")
    )

    assert row(own, made)["order_key"] != row(own, foreign)["order_key"]


def test_nothing_overtakes_on_a_record_that_another_endpoint_reaches_now_or_no_more(own, name):
    everybodys = {**MODELS["orders"], "path": "/v1/all-orders", "operations": ["read"], "where": []}
    made, changed = [], []

    def make(reference):
        order = {"reference": reference, "lines": []}
        made.append(own.call_json("POST", "/v1/auto-orders", order, "Prefer: respond-async", token="shop"))

    def change(reference):
        changed.append(own.call_json("PATCH", f"/v1/auto-orders/{reference}", {"note": "x"}, token="shop"))

    make(f"{name}-before")
    own.bring_in("more.yaml", {"endpoints": {"all-orders": everybodys}})
    try:
        change(f"{name}-before")
        make(f"{name}-meanwhile")
    finally:
        files = [str(own.directory / file) for file in ("catalog.yaml", "ledger.yaml")]
        pruned = own.entrepot("apply", "--prune", "--json", *files)
        own.wait_in_force(json.loads(pruned.stdout)["revision"])
    change(f"{name}-meanwhile")

    assert [answer.status for answer in (*made, *changed)] == [202] * 4
    keys = [[row(own, answer)["order_key"] for answer in answers] for answers in (made, changed)]
    assert keys[0] == keys[1]
    assert [row(own, answer)["due_at"] for answer in changed] == [None, None]


def test_records_are_written_directly_while_odoo_is_well(own, name):
    order = {"reference": name, "lines": [{"product": "FURN_7777", "quantity": 1}]}

    made = own.call_json("POST", "/v1/auto-orders", order, token="shop")
    changed = own.call_json("PATCH", f"/v1/auto-orders/{name}", {"note": "x"}, token="shop")
    wrong = own.call_json("PATCH", f"/v1/auto-orders/{name}-not", {"note": "x"}, token="shop")

    assert (made.status, made.data["reference"]) == (201, name)
    assert made.header("location") == f"/v1/auto-orders/{name}"
    assert made.header("etag") is not None
    assert (changed.status, wrong.status) == (200, 404)


def test_write_goes_on_when_its_caller_hangs_up(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/hurry/{name}", gated(gate))
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/hurry/{name}", token="shop"))
        assert eventually(lambda: upstream.seen_at(f"/hurry/{name}"))
        wire.reset()

    def states():
        return [each["state"] for each in rows(own, target=f"POST /v1/hurry/{name}")]

    assert eventually(states, 10.0)
    assert states() == ["waiting"]
    gate.set()
    assert eventually(lambda: states() == ["delivered"], 10.0)


# -- without the database


@pytest.mark.slow
def test_locked_database_refuses_what_needs_it_and_serves_the_rest(own, upstream, assert_problem, name):
    with locked(own):
        read = own.call("GET", f"/v1/plain/{name}", token="shop")
        direct = post(own, f"/plain/{name}")
        looked = own.call("GET", "/transactions", token="shop")
        queued = post(own, f"/queued/{name}", timeout_s=20)
        keyed = post(own, f"/plain/{name}-keyed", key(name), timeout_s=20)

    assert (read.status, direct.status, looked.status) == (200, 200, 200)
    assert_problem(queued, 503, "store-unavailable", detail="was not accepted")
    assert_problem(keyed, 503, "store-unavailable", detail="was not accepted")
    assert upstream.seen_at(f"/plain/{name}-keyed") == []
    assert post(own, f"/queued/{name}").status == 202


@pytest.mark.slow
def test_locked_database_does_not_stop_auto_writes_that_nothing_can_overtake(own, upstream, name):
    upstream.plan(f"/any/{name}-slow", gated(threading.Event(), b"slow"))
    with locked(own):
        direct = post(own, f"/any/{name}", timeout_s=20)
        ordered = post(own, f"/auto/{name}", timeout_s=20)

    assert (direct.status, ordered.status) == (200, 503)
    assert upstream.seen_at(f"/auto/{name}") == []


@pytest.mark.slow
def test_slow_write_is_answered_by_its_upstream_when_the_ledger_cannot_take_it(own, upstream, name):
    def script(request):
        request.read_body()
        time.sleep(1.0)
        answers(b"slow")(request)

    upstream.plan(f"/hurry-any/{name}", script)
    asked = post(own, f"/hurry-any/{name}")
    assert asked.status == 202

    with own.wire(timeout_s=20) as wire, locked(own):
        wire.send(own.head("POST", f"/v1/hurry-any/{name}", token="shop"))
        answer = wire.answer()

    assert (answer.status, answer.body) == (200, b"slow")


def test_hanging_upstream_makes_one_transaction_for_repeated_requests(own, upstream, name):
    upstream.plan(f"/hurry/{name}", hangs())

    found = [post(own, f"/hurry/{name}", key(name)) for _ in range(3)]

    assert [answer.status for answer in found] == [202] * 3
    assert len({answer.data["transaction"] for answer in found}) == 1
    assert [answer.header("idempotency-replayed") for answer in found] == [None, "true", "true"]
    assert len(rows(own, target=f"POST /v1/hurry/{name}")) == 1
    assert json.loads(rows(own, target=f"POST /v1/hurry/{name}")[0]["facts"])["variables"] == {"rest": name}
