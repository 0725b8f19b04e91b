"""Writes that are queued: what is checked before the 202, what the 202 says, and what partners see afterwards."""

import json
import sqlite3
import time
from contextlib import closing

import pytest
from ledgers import fixture, key, record_answer, row, rows, settled
from problems import ProblemCheck
from running import eventually

from entrepot.catalog.snapshot import read_snapshot
from entrepot.chassis.shared import SharedState
from entrepot.connectors.pace import Pace
from entrepot.ledger.entries import KeptAnswer

own = fixture()


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


def queue(own, name, *lines, token="shop", body=b'{"a": 1}'):
    return own.call("POST", f"/v1/queued/{name}", "Content-Type: application/json", *lines, token=token, body=body)


def test_queued_write_is_in_the_store_when_it_is_answered(own, upstream, name):
    answer = own.call(
        "POST", f"/v1/queued/{name}?x=%20y", "Content-Type: text/plain", "X-Mine: 1", "Cookie: c=1", "Prefer: wait=5",
        token="shop", body=b"a body",
    )  # fmt: skip

    found = row(own, answer)
    assert answer.header("location") == f"/transactions/{found['id']}"
    assert int(answer.header("retry-after")) >= 1
    assert answer.data == {"transaction": found["id"], "state": "queued"}
    assert answer.json()["meta"]["operation_id"] == answer.header("x-request-id") == found["operation_id"]
    assert (found["state"], found["applied"], found["attempts"]) == ("queued", "no", 0)
    assert (found["partner"], found["client"], found["endpoint"]) == ("azure", "shop", "queued")
    assert (found["upstream"], found["kind"], found["body"]) == ("patient", "relay", b"a body")
    assert found["target"] == f"POST /v1/queued/{name}?x=%20y"
    facts = json.loads(found["facts"])
    assert facts["variables"] == {"rest": name}
    assert facts["query"] == "x=%20y"
    assert facts["values"]["partner.contact"] == 14
    assert facts["fields"].lower().split("\r\n")[:-1] == ["content-type: text/plain", "x-mine: 1", "cookie: c=1"]
    assert upstream.seen_at(f"/queued/{name}") == []


def test_reads_of_a_queue_endpoint_are_direct(own, name):
    assert own.call("GET", f"/v1/queued/{name}", token="shop").status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"{", 400, "malformed-json"), (b"{}", 422, "invalid-body"), (b'{"name": "x", "no": 1}', 422, "invalid-body")],
)
def test_body_that_breaks_the_schema_is_refused_before_it_is_queued(own, assert_problem, body, status, code):
    before = len(rows(own))

    answer = own.call_json("POST", "/v1/queued-contacts", body, token="shop")

    assert_problem(answer, status, code)
    assert len(rows(own)) == before


def test_what_can_be_checked_without_the_upstream_is_checked_before_the_202(own, assert_problem):
    before = len(rows(own))

    parameter = own.call_json("POST", "/v1/queued-contacts?x=1", {"name": "x"}, token="shop")
    scope = own.call_json("POST", "/v1/queued-contacts", {"name": "x"}, token="reader")
    hidden = own.call("POST", "/v1/queued/a%2Fb", token="shop")
    large = own.call("POST", "/v1/queued/large", token="shop", body=b"x" * 1_048_577)

    assert_problem(parameter, 400, "unknown-parameter", paths=["x"])
    assert_problem(scope, 403, "insufficient-scope")
    assert_problem(hidden, 400, "bad-request")
    assert_problem(large, 413, "body-too-large", alive=False)
    assert len(rows(own)) == before


def test_chunked_body_is_read_whole(own, name):
    head = own.head("POST", f"/v1/queued/{name}", "Transfer-Encoding: chunked", token="shop")
    with own.wire() as wire:
        wire.send(head + b"3\r\nabc\r\n")
        time.sleep(0.1)
        wire.send(b"3\r\ndef\r\n0\r\n\r\n")
        answer = wire.answer()

    assert row(own, answer)["body"] == b"abcdef"


def test_creation_of_a_record_is_queued_with_the_partners_own_values(own):
    answer = own.call_json("POST", "/v1/queued-contacts", {"name": "Queued"}, token="shop")

    found = row(own, answer)
    assert (found["kind"], found["upstream"], found["order_key"]) == ("create", "erp", None)
    assert json.loads(found["facts"]) == {
        "values": {"partner.contact": 14, "client": "shop"}, "variables": {}, "path": "/v1/queued-contacts"
    }  # fmt: skip


def test_change_with_if_match_is_direct(own):
    contact = own.erp.contact(14, "Direct")
    target = f"/v1/queued-contacts/{contact}"
    etag = own.call("GET", target, token="shop").header("etag")

    direct = own.call_json("PATCH", target, {"email": "a@x.be"}, f"If-Match: {etag}", token="shop")
    late = own.call_json("PATCH", target, {"email": "b@x.be"}, f"If-Match: {etag}", token="shop")
    queued = own.call_json("PATCH", target, {"email": "c@x.be"}, token="shop")

    assert (direct.status, late.status, queued.status) == (200, 412, 202)


def test_prefer_is_honoured_where_writes_may_be_queued(own, upstream, name):
    prefer = 'Prefer: foo; bar="a,b", Respond-Async; x=1, wait=10'

    queued = queue(own, name, prefer)
    auto = own.call("POST", f"/v1/auto/{name}", prefer, token="shop")
    direct = own.call("POST", f"/v1/plain/{name}", prefer, token="shop")

    assert (queued.status, auto.status, direct.status) == (202, 202, 200)
    assert queued.header("preference-applied") == auto.header("preference-applied") == "respond-async"
    assert direct.header("preference-applied") is None
    assert upstream.seen_at(f"/auto/{name}") == []
    assert "prefer" not in json.loads(row(own, auto)["facts"])["fields"].lower()


@pytest.mark.parametrize(
    "prefer", ["respond-async=no", '"respond-async"', "respond-asynchronously", ",,;;==", '"', "wait=respond-async"]
)
def test_nonsense_in_prefer_is_ignored(own, name, prefer):
    answer = own.call("POST", f"/v1/auto/{name}", f"Prefer: {prefer}", token="shop")

    assert answer.status == 200
    assert answer.header("preference-applied") is None


def test_partner_with_too_much_waiting_is_refused_and_others_are_not(own, assert_problem, name):
    first = [queue(own, f"{name}-{number}", token="little").status for number in range(3)]
    refused = queue(own, name, token="little")

    assert first == [202, 202, 429]
    assert_problem(refused, 429, "too-much-queued")
    assert queue(own, name).status == 202


# -- what partners see


def look(own, id_, token="shop"):
    return own.call("GET", f"/transactions/{id_}", token=token)


def test_partner_sees_its_transaction(own, name):
    accepted = queue(own, name)

    answer = look(own, accepted.data["transaction"])

    seen = answer.data
    assert answer.status == 200
    assert answer.json()["meta"]["operation_id"] == answer.header("x-request-id")
    assert int(answer.header("retry-after")) >= 1
    assert (seen["transaction"], seen["state"], seen["applied"]) == (accepted.data["transaction"], "queued", "no")
    assert (seen["endpoint"], seen["request"]) == ("queued", f"POST /v1/queued/{name}")
    assert seen["accepted_at"].endswith("Z")
    assert (seen["attempts"], seen["follows"]) == ([], None)
    assert "do not send it again" in seen["advice"]


def test_transaction_of_another_partner_is_404_like_one_that_there_is_not(own, assert_problem, name):
    id_ = queue(own, name).data["transaction"]

    foreign = assert_problem(look(own, id_, token="rival"), 404, "not-found")
    absent = assert_problem(look(own, id_[:-1] + ("0" if id_[-1] != "0" else "1")), 404, "not-found")
    cancelled = own.call("DELETE", f"/transactions/{id_}", token="rival")

    assert foreign["detail"] == absent["detail"]
    assert_problem(cancelled, 404, "not-found")
    assert look(own, id_).data["state"] == "queued"


@pytest.mark.parametrize(
    "path", ["/transactions/x", "/transactions/" + "-" * 36, "/transactions/a/b", "/transactions/"]
)
def test_what_is_no_id_is_404(own, assert_problem, path):
    assert_problem(own.call("GET", path, token="shop"), 404, "not-found")


def test_transactions_need_a_token_and_take_three_methods(own, assert_problem, name):
    id_ = queue(own, name).data["transaction"]

    assert_problem(own.call("GET", "/transactions"), 401, "invalid-token")
    assert_problem(own.call("GET", f"/transactions/{id_}"), 401, "invalid-token")
    assert_problem(own.call("POST", f"/transactions/{id_}", token="shop"), 405, "method-not-allowed")
    assert_problem(own.call("DELETE", "/transactions", token="shop"), 405, "method-not-allowed")
    assert_problem(own.call("GET", "/transactions", token="fenced"), 403, "forbidden")
    assert own.call("HEAD", f"/transactions/{id_}", token="shop").status == 200
    assert own.call("OPTIONS", f"/transactions/{id_}").header("allow") == "DELETE, GET, HEAD, OPTIONS"
    assert own.call("GET", "/transactions/" + id_, token="reader").status == 200


def test_clients_rate_counts_for_transactions(own):
    with own.wire() as wire:
        # At once: a rate that is not used up in time is given anew meanwhile.
        wire.send(own.head("GET", "/transactions", token="metered") * 40)
        answers = [wire.answer() for _ in range(40)]

    assert {answer.status for answer in answers} == {200, 429}
    assert answers[0].header("ratelimit") is not None


def test_result_is_in_the_endpoints_own_fields(own):
    id_ = own.call_json("POST", "/v1/queued-contacts", {"name": "Result"}, token="shop").data["transaction"]
    settled(own, id_, "delivered", "yes", answer=record_answer(201, {"id": 7, "name": "Result"}))

    answer = look(own, id_)

    seen = answer.data
    assert (seen["state"], seen["applied"]) == ("delivered", "yes")
    assert seen["result"] == {"status": 201, "data": {"id": 7, "name": "Result"}}
    assert "problem" not in seen
    assert [(each["number"], each["outcome"], each["status"]) for each in seen["attempts"]] == [(1, "delivered", 201)]
    assert answer.header("retry-after") is None
    assert seen["advice"] == "Nothing is left to do."


def test_result_says_where_the_record_is(own):
    id_ = own.call_json("POST", "/v1/queued-contacts", {"name": "Placed"}, token="shop").data["transaction"]
    fields = b"content-type: application/json\r\nlocation: /v1/queued-contacts/7\r\n"
    settled(own, id_, "delivered", "yes", answer=KeptAnswer(201, fields, b'{"id":7}'))

    result = look(own, id_).data["result"]

    assert result == {"status": 201, "location": "/v1/queued-contacts/7", "data": {"id": 7}}


@pytest.mark.parametrize(("applied", "advice"), [("no", "with a new key"), ("unknown", "ask the operator")])
def test_dead_one_says_why_and_what_to_do(own, name, applied, advice):
    id_ = queue(own, name).data["transaction"]
    problem = {"type": "urn:entrepot:problem:upstream-rejected", "status": 422, "code": "upstream-rejected"}
    settled(own, id_, "dead", applied, problem=problem)

    seen = look(own, id_).data

    assert (seen["state"], seen["applied"]) == ("dead", applied)
    assert seen["problem"] == problem
    assert "result" not in seen
    assert advice in seen["advice"]


def test_follower_names_what_it_waits_for(own, name):
    first, second = (queue(own, name).data["transaction"] for _ in range(2))

    seen = look(own, second).data

    assert seen["follows"] == first
    assert seen["next_attempt_at"] is None


def test_follower_of_a_dead_one_is_told_to_come_again_late(own, name):
    first = queue(own, name)
    settled(own, first.data["transaction"], "dead", "no", problem={"status": 422, "code": "upstream-rejected"})

    second = queue(own, name)

    assert (first.header("retry-after"), second.header("retry-after")) == ("1", "60")


@pytest.mark.parametrize(("waited_s", "told_s"), [(0, 1), (100, 10), (86_400, 60)])
def test_what_is_overdue_is_to_be_looked_at_less_often_the_longer_it_is(own, name, waited_s, told_s):
    first, second = (queue(own, name).data["transaction"] for _ in range(2))
    with closing(sqlite3.connect(own.store / "entrepot.db", timeout=10)) as db, db:
        db.execute(
            "UPDATE transactions SET accepted_at = accepted_at - ? WHERE id IN (?, ?)", (waited_s, first, second)
        )

    answers = [look(own, id_) for id_ in (first, second)]

    assert [told_s <= int(answer.header("retry-after")) <= told_s + 2 for answer in answers] == [True, True]


@pytest.fixture
def set_pace(own):
    """Say how long deliveries take, as a courier does."""
    shared = SharedState.open(own.store / "shared")
    yield Pace(shared, "patient").note
    shared.cells[shared.slot("pace:patient")] = 0.0
    shared.close()


def test_what_waits_behind_others_is_to_be_looked_at_when_they_are_done(own, name, set_pace):
    queue(own, f"{name}-1")
    places = read_snapshot(own.store / "snapshot.json").upstreams["patient"].concurrency
    with closing(sqlite3.connect(own.store / "entrepot.db", timeout=10)) as db:
        ((ahead,),) = db.execute("SELECT sum(unfinished) FROM queues WHERE partner = 'azure'").fetchall()
    set_pace(20.0 * places / ahead)

    answer = queue(own, f"{name}-2")

    assert int(answer.header("retry-after")) == 20
    assert 1 <= int(look(own, answer.data["transaction"]).header("retry-after")) <= 20


def test_lists_page_through_all_of_the_partners_own(own, name):
    for number in range(5):
        queue(own, f"{name}-{number}", token="rival")

    found, target = [], "/transactions?limit=2&state=queued"
    while target:
        page = own.call("GET", target, token="rival").json()
        assert len(page["data"]) <= 2
        found += [each["transaction"] for each in page["data"]]
        target = (page["meta"]["pagination"]["next"] or "").removeprefix("http://gateway.test")

    assert sorted(found) == sorted(each["id"] for each in rows(own, partner="deco", state="queued"))
    assert len(found) == len(set(found)) >= 5
    assert own.call("GET", "/transactions?state=dead,held", token="rival").data == []


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("state=lost", ["state"]),
        ("state=queued,", ["state"]),
        ("limit=0", ["limit"]),
        ("limit=101", ["limit"]),
        ("limit=1&limit=2", ["limit"]),
        ("after=x&colour=red", ["after", "colour"]),
    ],
)
def test_wrong_parameters_of_the_list_are_all_told(own, assert_problem, query, paths):
    assert_problem(own.call("GET", f"/transactions?{query}", token="shop"), 400, "unknown-parameter", paths=paths)


def test_one_that_was_not_sent_can_be_cancelled(own, name):
    id_ = queue(own, name).data["transaction"]

    answer = own.call("DELETE", f"/transactions/{id_}", token="shop")

    assert answer.status == 204
    assert look(own, id_).data["state"] == "cancelled"
    assert own.call("DELETE", f"/transactions/{id_}", token="shop").status == 204


def test_one_that_may_have_been_sent_cannot_be_cancelled(own, assert_problem, name):
    id_ = queue(own, name).data["transaction"]
    settled(own, id_, "delivered", "yes", answer=record_answer(200, {}))

    answer = own.call("DELETE", f"/transactions/{id_}", token="shop")

    assert_problem(answer, 409, "transaction-sent")


def test_accepted_writes_are_counted_and_logged(own, name):
    answer = queue(own, name)

    counted = b'entrepot_transactions_accepted_total{endpoint="queued"}'
    assert eventually(lambda: counted in own.call("GET", "/metrics").body)
    lines = own.log_lines(answer.header("x-request-id"))
    assert any("POST /v1/queued/" in line and " 202 " in line for line in lines)
    look(own, answer.data["transaction"])
    assert eventually(lambda: b'handler="/transactions/{id}"' in own.call("GET", "/metrics").body)


def test_endless_queueing_with_keys_makes_one_transaction_each(own, name):
    ids = {queue(own, name, key(f"{name}-{number % 5}")).data["transaction"] for number in range(20)}

    assert len(ids) == 5
