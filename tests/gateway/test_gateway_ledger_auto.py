"""Writes that are direct while the upstream is well, and become transactions when it is not: never two of one."""

import json
import threading
import time

import pytest
from ledgers import fixture, key, locked, row, rows
from problems import ProblemCheck
from running import eventually
from upstream import answers, gated, hangs, resets

own = fixture()


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


def post(own, path, *lines, token="shop", body=b"{}", **options):
    return own.call("POST", f"/v1{path}", "Content-Type: application/json", *lines, token=token, body=body, **options)


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
    gate = threading.Event()
    upstream.plan(f"/auto/{name}", gated(gate))
    began = time.time()

    answer = post(own, f"/auto/{name}")
    found = row(own, answer)
    gate.set()

    assert 0.3 <= time.time() - began < 1.5
    assert (found["state"], found["applied"], found["attempts"]) == ("waiting", "unknown", 1)
    assert answer.data["state"] == "waiting"
    assert upstream.seen_at(f"/auto/{name}")[0].header("idempotency-key") == f'"{found["id"]}"'
    # Not before the call that is under way must have ended.
    assert began + 2.0 <= found["due_at"] <= began + 8.0
    assert 2 <= int(answer.header("retry-after")) <= 8
    assert answer.header("preference-applied") is None


def test_late_answer_changes_nothing_and_the_client_keeps_its_connection(own, upstream, name):
    upstream.plan(f"/auto/{name}", gated(threading.Event(), b"late"))
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/auto/{name}", token="shop"))
        first = wire.answer()
        wire.send(own.head("GET", "/v1/plain/x", token="shop"))
        second = wire.answer()

    assert (first.status, second.status) == (202, 200)
    time.sleep(2.5)
    assert row(own, first)["state"] == "waiting"


def test_answer_that_comes_after_the_patience_is_the_end_of_it_and_nothing_is_sent_again(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/auto/{name}", gated(gate, b"late"))

    answer = post(own, f"/auto/{name}")
    gate.set()

    assert answer.status == 202
    assert eventually(lambda: row(own, answer)["state"] == "delivered", 3.0)
    told = own.call("GET", answer.header("location"), token="shop").data
    assert (told["applied"], told["result"]["status"], len(told["attempts"])) == ("yes", 200, 1)
    assert len(upstream.seen_at(f"/auto/{name}")) == 1


@pytest.mark.parametrize(
    ("script", "state", "applied"),
    [
        (resets(), "waiting", "unknown"),
        (answers(b"", status="500 Internal Server Error"), "waiting", "unknown"),
        (answers(b"", "retry-after: 40", status="503 Service Unavailable"), "waiting", "unknown"),
        (answers(b"", "retry-after: 40", status="429 Too Many Requests"), "queued", "no"),
    ],
)
def test_failure_of_the_upstream_becomes_a_transaction_at_once(own, upstream, name, script, state, applied):
    upstream.plan(f"/any/{name}", script)

    answer = post(own, f"/any/{name}")

    found = row(own, answer)
    assert (found["state"], found["applied"]) == (state, applied)
    assert upstream.seen_at(f"/any/{name}")[0].header("idempotency-key") == f'"{found["id"]}"'


def test_retry_after_of_the_upstream_is_kept(own, upstream, name):
    upstream.plan(f"/any/{name}", answers(b"", "retry-after: 40", status="503 Service Unavailable"))

    answer = post(own, f"/any/{name}")

    assert row(own, answer)["due_at"] >= time.time() + 35
    assert 36 <= int(answer.header("retry-after")) <= 42


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


@pytest.mark.slow
def test_maintenance_queues_without_a_call(own, upstream, name):
    own.entrepot("maintenance", "on", "--until", "20s")
    try:
        held = post(own, f"/any/{name}")
    finally:
        own.entrepot("maintenance", "off")
    after = post(own, f"/any/{name}")

    assert row(own, held)["state"] == "queued"
    assert 10 <= int(held.header("retry-after")) <= 20
    assert after.status == 200
    assert len(upstream.seen_at(f"/any/{name}")) == 1


def test_no_free_place_queues_what_was_never_sent(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/tight/{name}-slow", gated(gate))
    try:
        with own.wire() as first, own.wire() as second:
            first.send(own.head("POST", f"/v1/tight/{name}-slow", token="shop"))
            time.sleep(0.1)
            second.send(own.head("POST", f"/v1/tight/{name}-waits", token="shop"))
            time.sleep(0.1)
            full = post(own, f"/tight/{name}-full")
            waited = second.answer()
            sent = first.answer()
    finally:
        gate.set()

    assert [row(own, each)["applied"] for each in (sent, waited, full)] == ["unknown", "no", "no"]
    time.sleep(0.5)
    assert upstream.seen_at(f"/tight/{name}-waits") == [], "what became a transaction was sent all the same"


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
    upstream.plan(f"/auto/{name}", gated(gate))
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/auto/{name}", token="shop"))
        time.sleep(0.1)
        wire.reset()
    time.sleep(0.8)
    gate.set()

    found = rows(own, target=f"POST /v1/auto/{name}")
    assert [each["state"] for each in found] == ["waiting"]


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
    assert_problem(queued, 503, "store-unavailable", detail="repeat it with the same idempotency-key")
    assert_problem(keyed, 503, "store-unavailable")
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

    upstream.plan(f"/any/{name}", script)
    asked = post(own, f"/any/{name}")
    assert asked.status == 202

    with own.wire(timeout_s=20) as wire:
        wire.send(own.head("POST", f"/v1/any/{name}", token="shop"))
        time.sleep(0.15)
        with locked(own):
            answer = wire.answer()

    assert (answer.status, answer.body) == (200, b"slow")


def test_hanging_upstream_makes_one_transaction_for_repeated_requests(own, upstream, name):
    upstream.plan(f"/auto/{name}", hangs())

    found = [post(own, f"/auto/{name}", key(name)) for _ in range(3)]

    assert [answer.status for answer in found] == [202] * 3
    assert len({answer.data["transaction"] for answer in found}) == 1
    assert [answer.header("idempotency-replayed") for answer in found] == [None, "true", "true"]
    assert len(rows(own, target=f"POST /v1/auto/{name}")) == 1
    assert json.loads(rows(own, target=f"POST /v1/auto/{name}")[0]["facts"])["variables"] == {"rest": name}
