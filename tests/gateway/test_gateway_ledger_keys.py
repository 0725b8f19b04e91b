"""Idempotency-Key: the first answer again, one transaction at most, over workers, restarts and kills."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from ledgers import (
    claimed,
    fixture,
    is_being_written,
    key,
    locked,
    lose_leases,
    memories,
    refusing_transactions,
    row,
    rows,
    slow_to_note_keys,
)
from problems import ProblemCheck
from rawclient import BrokenAnswerError
from running import eventually
from upstream import answers, gated, resets

own = fixture()


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


def post(own, path, *lines, token="shop", body=b"{}", **options):
    return own.call("POST", f"/v1{path}", "Content-Type: application/json", *lines, token=token, body=body, **options)


@pytest.mark.parametrize(
    "value",
    ["", '""', '"', '"a', "a b", '"a" "b"', "k" * 256, '"' + "k" * 256 + '"', "schlüssel", '"a\\n"', '"a";x=1', "a, b"],
)
def test_what_is_no_key_is_refused(own, upstream, assert_problem, name, value):
    answer = post(own, f"/plain/{name}", f"Idempotency-Key: {value}")

    assert_problem(answer, 400, "bad-request", paths=["Idempotency-Key"])
    assert upstream.seen_at(f"/plain/{name}") == []


def test_two_keys_and_an_endless_one_are_refused(own, assert_problem, name):
    twice = post(own, f"/plain/{name}", key("a"), key("b"))
    bare = post(own, f"/plain/{name}", "Idempotency-Key: a", "Idempotency-Key: a")
    endless = post(own, f"/plain/{name}", "Idempotency-Key: " + "k" * 10_000)

    assert_problem(twice, 400, "bad-request", detail="idempotency-key")
    assert_problem(bare, 400, "bad-request", detail="idempotency-key")
    assert_problem(endless, 431, "headers-too-large")


def test_missing_key_is_refused_where_one_is_required(own, upstream, assert_problem, name):
    without = post(own, f"/needs-key/{name}")
    reading = own.call("GET", f"/v1/needs-key/{name}-read", token="shop")
    within = post(own, f"/needs-key/{name}", key(name))

    assert_problem(without, 400, "bad-request", paths=["Idempotency-Key"])
    assert (reading.status, within.status) == (200, 200)
    assert len(upstream.seen_at(f"/needs-key/{name}")) == 1


def test_reads_do_not_look_at_the_key(own, name):
    assert own.call("GET", f"/v1/plain/{name}", "Idempotency-Key: ", token="shop").status == 200


@pytest.mark.parametrize("path", ["plain", "auto"])
def test_repeated_request_gets_the_first_answer(own, upstream, name, path):
    upstream.plan(f"/{path}/{name}", answers(b"first", "x-mine: 1", "content-type: text/x", status="201 Created"))
    first = post(own, f"/{path}/{name}", key(name))
    upstream.plan(f"/{path}/{name}", answers(b"second"))

    bare, other = post(own, f"/{path}/{name}", f"Idempotency-Key: {name}"), post(own, f"/{path}/{name}")

    assert (first.status, first.body, first.header("idempotency-replayed")) == (201, b"first", None)
    assert (bare.status, bare.body, bare.header("idempotency-replayed")) == (201, b"first", "true")
    assert (bare.header("x-mine"), bare.header("content-type")) == ("1", "text/x")
    assert bare.header("x-request-id") != first.header("x-request-id")
    assert (other.status, other.body) == (200, b"second")
    sent = upstream.seen_at(f"/{path}/{name}")
    assert len(sent) == 2
    assert name not in (sent[0].header("idempotency-key") or "")


def test_repeated_creation_makes_one_record_and_is_answered_alike(own, name):
    body = {"name": f"Once {name}"}

    first, second = (own.call_json("POST", "/v1/contacts", body, key(name), token="shop") for _ in range(2))

    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    for field in ("location", "etag", "content-type"):
        assert first.header(field) == second.header(field) is not None
    assert len(own.erp.call("res.partner", "search", [["name", "=", f"Once {name}"]])) == 1


def test_repeated_change_is_made_once_and_what_it_began_with_is_noted(own, name):
    contact = own.erp.contact(14, name)

    first, second = (
        own.call_json("PATCH", f"/v1/contacts/{contact}", {"email": "x@y.be"}, key(name), token="shop")
        for _ in range(2)
    )

    assert (first.status, second.status, first.body) == (200, 200, second.body)
    noted = [json.loads(each) for each in memories(own) if each]
    assert any(each.get("id") == contact and "write_date" in each for each in noted)


def test_refusal_of_the_record_is_kept(own, upstream, assert_problem, name):
    first, second = (
        own.call_json("PATCH", "/v1/contacts/999999", {"name": "x"}, key(name), token="shop") for _ in range(2)
    )

    assert_problem(first, 404, "record-not-found")
    assert (second.status, second.body) == (404, first.body)
    assert second.header("idempotency-replayed") == "true"
    assert second.header("content-type") == "application/problem+json"


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "429 Too Many Requests"])
def test_answer_that_says_nothing_of_the_request_is_not_kept(own, upstream, name, status):
    upstream.plan(f"/plain/{name}", answers(b"no", status=status))
    first = post(own, f"/plain/{name}", key(name))
    upstream.plan(f"/plain/{name}", answers(b"yes"))

    second = post(own, f"/plain/{name}", key(name))

    assert (first.status, second.status, second.body) == (int(status[:3]), 200, b"yes")
    assert second.header("idempotency-replayed") is None


def test_request_that_was_never_sent_may_be_repeated_at_once(own, name):
    answers_ = [post(own, f"/gone/{name}", key(name)) for _ in range(2)]

    assert [answer.status for answer in answers_] == [503, 503]


@pytest.mark.parametrize("script", [resets(), answers(b"", status="500 Oops")])
def test_repetition_after_an_unknown_outcome_is_the_same_transaction(own, upstream, name, script):
    upstream.plan(f"/plain/{name}", script)
    first = post(own, f"/plain/{name}", key(name))
    upstream.plan(f"/plain/{name}", answers(b"yes"))

    second, third = post(own, f"/plain/{name}", key(name)), post(own, f"/plain/{name}", key(name))

    assert first.status in {500, 503}
    assert (second.status, second.body, third.body) == (200, b"yes", b"yes")
    keys = [each.header("idempotency-key") for each in upstream.seen_at(f"/plain/{name}")]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_repetition_that_was_not_sent_does_not_free_the_key_of_a_try_that_was(own, upstream, name):
    upstream.plan(f"/plain-fragile/{name}", resets())
    lost = post(own, f"/plain-fragile/{name}", key(name))
    before = claimed(own)

    unsent = post(own, f"/plain-fragile/{name}", key(name))

    assert [lost.status, unsent.status] == [503, 503]
    assert len(upstream.seen_at(f"/plain-fragile/{name}")) == 1
    assert claimed(own) == before


def test_key_of_another_request_is_refused(own, assert_problem, name):
    first = post(own, f"/plain/{name}", key(name))

    assert first.status == 200
    assert_problem(post(own, f"/plain/{name}", key(name), body=b'{"a":1}'), 422, "idempotency-mismatch")
    assert_problem(post(own, f"/plain/{name}?x=1", key(name)), 422, "idempotency-mismatch")
    assert_problem(own.call("PUT", f"/v1/plain/{name}", key(name), token="shop"), 422, "idempotency-mismatch")
    assert post(own, f"/queued/{name}", key(name)).status == 202, "another endpoint"
    assert post(own, f"/plain/{name}", key(name), token="rival").status == 200, "another client"


def test_request_still_in_work_is_refused_and_answered_later(own, upstream, assert_problem, name):
    gate = threading.Event()
    upstream.plan(f"/plain/{name}", gated(gate, b"done"))
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/plain/{name}", key(name), token="shop"))
        assert eventually(lambda: upstream.seen_at(f"/plain/{name}"))
        early = own.call("POST", f"/v1/plain/{name}", key(name), token="shop")
        gate.set()
        first = wire.answer()
    later = own.call("POST", f"/v1/plain/{name}", key(name), token="shop")

    assert_problem(early, 409, "idempotency-in-work")
    assert int(early.header("retry-after")) >= 1
    assert (first.body, later.body) == (b"done", b"done")
    assert len(upstream.seen_at(f"/plain/{name}")) == 1


@pytest.mark.parametrize("path", ["queued", "plain"])
def test_same_request_at_two_workers_at_once_is_one(own, upstream, name, path):
    upstream.plan(f"/{path}/{name}", answers(b"done"))
    with own.one_wire_for_each_worker() as wires:
        statuses = []
        for number in range(20):
            head = own.head("POST", f"/v1/{path}/{name}", key(f"{name}-{number}"), token="shop")
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda wire, head=head: wire.send(head), wires))
            statuses.append(sorted(wire.answer().status for wire in wires))

    if path == "queued":
        assert statuses == [[202, 202]] * 20
        assert len(rows(own, target=f"POST /v1/{path}/{name}")) == 20
    else:
        assert all(first == 200 and second in {200, 409} for first, second in statuses)
        assert len(upstream.seen_at(f"/{path}/{name}")) == 20


def test_client_that_hangs_up_gets_the_answer_when_it_repeats(own, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/plain/{name}", gated(gate, b"done"))
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/plain/{name}", key(name), token="shop"))
        assert eventually(lambda: upstream.seen_at(f"/plain/{name}"))
        wire.reset()
    gate.set()

    assert eventually(
        lambda: own.call("POST", f"/v1/plain/{name}", key(name), token="shop").body == b"done", every_s=0.1
    )
    assert len(upstream.seen_at(f"/plain/{name}")) == 1


# -- ends of processes; these come last


def test_answers_are_replayed_over_a_restart(own, upstream, name):
    direct, queued = post(own, f"/plain/{name}", key(name)), post(own, f"/queued/{name}", key(name))
    own.stop()
    own.start()
    own.wait_ready()

    again, accepted = post(own, f"/plain/{name}", key(name)), post(own, f"/queued/{name}", key(name))

    assert (again.body, again.header("idempotency-replayed")) == (direct.body, "true")
    assert accepted.data["transaction"] == queued.data["transaction"]
    assert accepted.header("idempotency-replayed") == "true"
    assert len(upstream.seen_at(f"/plain/{name}")) == 1


def test_what_was_answered_202_survives_a_kill(own, name):
    with own.wire() as wire:
        for number in range(20):
            wire.send(own.head("POST", f"/v1/queued/{name}-{number}", key(f"{name}-{number}"), token="shop"))
            answer = wire.answer()
            assert answer.status == 202
        os.kill(own.worker_of(wire), signal.SIGKILL)
    own.wait_ready()

    found = [post(own, f"/queued/{name}-{number}", key(f"{name}-{number}"), body=b"") for number in range(20)]

    assert {answer.header("idempotency-replayed") for answer in found} == {"true"}
    assert row(own, answer)["state"] == "queued"
    assert len({answer.data["transaction"] for answer in found}) == 20


@pytest.mark.slow
def test_killed_worker_leaves_a_key_that_continues_the_same_transaction(own, upstream, name):
    path = f"/prompt-plain/{name}"
    upstream.plan(path, gated(threading.Event()))
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1{path}", key(name), token="shop"))
        assert eventually(lambda: upstream.seen_at(path))
        os.kill(own.worker_of(wire), signal.SIGKILL)
    upstream.plan(path, answers(b"done"))

    found = []

    def is_answered():
        with suppress(BrokenAnswerError):  # by the worker that was killed
            found.append(own.call("POST", f"/v1{path}", key(name), token="shop").status)
        return found[-1:] == [200]

    assert eventually(is_answered, every_s=0.3)
    assert set(found[:-1]) == {409}
    own.wait_ready()
    keys = {each.header("idempotency-key") for each in upstream.seen_at(path)}
    assert len(keys) == 1


def worker_of(own, wire):
    """Return the process that serves *wire*."""
    wire.send(own.head("GET", "/v1/plain/x", token="shop"))
    assert wire.answer().status == 200
    return own.worker_of(wire)


def outlive_a_lease(worker):
    """Let *worker* stand still for longer than the lease of a key lasts where the upstream has two seconds."""
    os.kill(worker, signal.SIGSTOP)
    time.sleep(4.2)
    os.kill(worker, signal.SIGCONT)


@pytest.mark.slow
def test_worker_that_stood_still_until_its_lease_was_over_sends_nothing(own, upstream, assert_problem, name):
    path = f"/prompt-plain/{name}"
    with own.wire(timeout_s=60) as wire, slow_to_note_keys(own):
        worker = worker_of(own, wire)
        wire.send(own.head("POST", f"/v1{path}", key(name), token="shop"))
        assert eventually(lambda: is_being_written(own), every_s=0.01)
        outlive_a_lease(worker)
        late = wire.answer()

    again = post(own, path, key(name), body=b"")

    assert_problem(late, 503, "upstream-unavailable")
    assert again.status == 200
    assert len(upstream.seen_at(path)) == 1


@pytest.mark.slow
def test_worker_whose_key_could_not_be_noted_for_long_has_its_whole_lease(own, upstream, name):
    path = f"/prompt-plain/{name}"
    with own.wire(timeout_s=20) as wire:
        worker = worker_of(own, wire)
        with locked(own):
            wire.send(own.head("POST", f"/v1{path}", key(name), token="shop"))
            time.sleep(0.5)
            outlive_a_lease(worker)
        late = wire.answer()

    again = post(own, path, key(name), body=b"")

    assert (late.status, again.status) == (200, 200)
    assert again.header("idempotency-replayed") == "true"
    assert len(upstream.seen_at(path)) == 1


@pytest.mark.slow
def test_change_that_a_killed_worker_began_is_put_by_until_the_upstream_has_settled(own, upstream, name):
    number, before = 1000 + len(rows(own)), len(upstream.seen_at("/jsonrpc"))
    upstream.plan("/jsonrpc", gated(threading.Event()))
    head = own.head(
        "PATCH", f"/v1/unhurried-orders/{number}", "Content-Type: application/json", key(name), token="shop", body=b"{}"
    )
    with own.wire() as wire:
        wire.send(head)
        assert eventually(lambda: len(upstream.seen_at("/jsonrpc")) > before)
        os.kill(own.worker_of(wire), signal.SIGKILL)
    own.wait_ready()

    found, asked_at = [], []

    def is_accepted():
        asked_at.append(time.time())
        found.append(own.call_json("PATCH", f"/v1/unhurried-orders/{number}", b"{}", key(name), token="shop"))
        return found[-1].status == 202

    assert eventually(is_accepted, every_s=0.3), found[-1]
    assert {answer.status for answer in found[:-1]} <= {409}
    mine = row(own, found[-1])
    assert (mine["state"], mine["applied"]) == ("waiting", "unknown")
    assert mine["due_at"] >= asked_at[-1] + 3


@pytest.mark.slow
def test_change_that_a_killed_worker_began_is_put_by_as_long_when_it_is_not_to_be_waited_for(own, upstream, name):
    number = 3000 + len(rows(own))
    upstream.plan("/jsonrpc", gated(threading.Event()))
    path, before = f"/v1/unhurried-orders/{number}", len(upstream.seen_at("/jsonrpc"))
    with own.wire() as wire:
        wire.send(own.head("PATCH", path, "Content-Type: application/json", key(name), token="shop", body=b"{}"))
        assert eventually(lambda: len(upstream.seen_at("/jsonrpc")) > before)
        os.kill(own.worker_of(wire), signal.SIGKILL)
    own.wait_ready()
    lose_leases(own)

    asked_at = time.time()
    answer = own.call_json("PATCH", path, b"{}", key(name), "Prefer: respond-async", token="shop")
    answered_at = time.time()

    mine = row(own, answer)
    assert (answer.data["state"], mine["state"], mine["applied"]) == ("waiting", "waiting", "unknown")
    assert mine["due_at"] == mine["rests_until"] >= asked_at + 3
    assert mine["due_at"] - answered_at <= int(answer.header("retry-after")) <= 5


@pytest.mark.slow
def test_change_that_can_neither_be_repeated_nor_put_by_is_answered_all_the_same(own, upstream, assert_problem, name):
    number, before = 2000 + len(rows(own)), len(upstream.seen_at("/jsonrpc"))
    upstream.plan("/jsonrpc", gated(threading.Event()))
    head = own.head(
        "PATCH", f"/v1/unhurried-orders/{number}", "Content-Type: application/json", key(name), token="shop", body=b"{}"
    )
    with refusing_transactions(own):
        with own.wire() as wire:
            wire.send(head)
            assert eventually(lambda: len(upstream.seen_at("/jsonrpc")) > before)
            os.kill(own.worker_of(wire), signal.SIGKILL)
        own.wait_ready()
        lose_leases(own)

        answer = own.call_json("PATCH", f"/v1/unhurried-orders/{number}", b"{}", key(name), token="shop")

    assert_problem(answer, 503, "store-unavailable", detail="repeat it with the same idempotency-key")


@pytest.mark.slow
def test_stop_answers_what_is_being_accepted(own, name):
    with own.wire() as wire:
        wire.send(own.head("POST", f"/v1/queued/{name}", token="shop"))
        answer = wire.answer()
        assert own.stop() == 0

    assert row(own, answer)["state"] == "queued"


@pytest.mark.slow
def test_too_little_free_space_stops_what_would_be_stored(own, assert_problem, name):
    own.write_settings(more="[ledger]\nmin_free = 1024GiB\n")
    own.start()
    own.wait_ready()
    # What is free is looked up now and then.
    assert eventually(lambda: post(own, f"/queued/{name}-first").status == 503)
    queued, direct = post(own, f"/queued/{name}"), post(own, f"/plain/{name}")
    looked = own.call("GET", "/transactions", token="shop")
    told = eventually(lambda: b"\nentrepot_store_full 1.0\n" in own.call("GET", "/metrics").body)
    own.stop()
    own.write_settings()

    assert_problem(queued, 503, "store-unavailable", detail="was not accepted", alive=False)
    assert int(queued.header("retry-after")) >= 1
    assert (direct.status, looked.status) == (200, 200)
    assert told


@pytest.mark.slow
def test_database_that_is_away_at_the_start_stops_writes_alone_until_it_is_back(own, assert_problem, name):
    store = own.store / "entrepot.db"
    kept = store.with_suffix(".kept")
    store.rename(kept)
    store.mkdir()
    own.start()
    try:
        own.wait_ready()
        read = own.call("GET", f"/v1/plain/{name}", token="shop")
        direct = post(own, f"/plain/{name}")
        queued = post(own, f"/queued/{name}", timeout_s=20)
        looked = own.call("GET", "/transactions", token="shop", timeout_s=20)
    finally:
        store.rmdir()
        kept.rename(store)

    assert (read.status, direct.status) == (200, 200)
    assert_problem(queued, 503, "store-unavailable", detail="was not accepted", alive=False)
    assert_problem(looked, 503, "store-unavailable", alive=False)
    began = time.monotonic()
    assert eventually(lambda: post(own, f"/queued/{name}", timeout_s=20).status == 202, 10.0, 0.2)
    assert time.monotonic() - began < 5
