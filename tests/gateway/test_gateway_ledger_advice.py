"""What partners are told to do next, in each state; and what is left of an answer that is not kept any more."""

import time
from contextlib import closing

import pytest
from ledgers import fixture, key, record_answer, settled
from problems import ProblemCheck
from upstream import answers

from entrepot.ledger.operate import Eraser, begin_hold, hold_client, release_client, skip
from entrepot.store.engine import open_database

own = fixture()
DELETE_IT = "delete it, so that what follows may go"
REFUSED = {"status": 422, "code": "upstream-rejected"}
ERASED = "The answer was given; it has been erased."
NOT_KEPT = "The answer was given; it was too long to be kept, or there was no room for it."


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


def post(own, path, *lines, token="shop", body=b"{}"):
    return own.call("POST", f"/v1{path}", "Content-Type: application/json", *lines, token=token, body=body)


def queue(own, name, token="shop"):
    return post(own, f"/queued/{name}", token=token).data["transaction"]


def advice(own, id_, token="shop"):
    return own.call("GET", f"/transactions/{id_}", token=token).data["advice"]


def on_ledger(own, function, *arguments, **values):
    """Run *function* in a transaction of the daemon's database."""
    database = open_database(f"sqlite:///{own.store}/entrepot.db")
    with closing(database), database.writing() as connection:
        return function(connection, *arguments, **values)


def erase(own, field, value):
    """Erase what is finished and has *value* in *field*."""
    eraser = Eraser(match=(field, value))
    while not eraser.is_done:
        on_ledger(own, eraser.step, 100)


def test_what_waits_for_nothing_but_its_turn_is_not_to_be_sent_again(own, name):
    told = advice(own, queue(own, name))

    assert told == "It will be delivered without your doing; do not send it again, look again after Retry-After."


def test_a_follower_is_told_what_it_waits_for(own, name):
    first, second = queue(own, name), queue(own, name)

    assert advice(own, second) == f"It waits for transaction {first}; do not send it again."


@pytest.mark.parametrize(
    ("applied", "what"),
    [
        ("no", "delete that one, or ask the operator to replay or skip it; do not send this one again."),
        ("unknown", "ask the operator, who can replay or skip it; do not send this one again."),
    ],
)
def test_the_follower_of_a_dead_one_is_told_whether_it_can_help_itself(own, name, applied, what):
    first, second = queue(own, name), queue(own, name)
    settled(own, first, "dead", applied, problem=REFUSED)

    assert advice(own, second) == f"It waits for transaction {first}, which is dead: {what}"


@pytest.mark.parametrize(
    ("applied", "what"),
    [
        (
            "no",
            "It was not carried out; delete it, so that what follows may go, and send a corrected one with a new key.",
        ),
        ("yes", "It was carried out, and its result could not be had; read the record, and do not send it again."),
        ("unknown", "It may have been carried out; do not send it again, ask the operator."),
    ],
)
def test_a_dead_one_says_whether_it_may_be_sent_again(own, name, applied, what):
    id_ = queue(own, name)
    settled(own, id_, "dead", applied, problem=REFUSED)

    assert advice(own, id_) == what


@pytest.mark.parametrize(
    ("applied", "what"),
    [
        ("yes", "It was carried out, and its result could not be had; read the record, and do not send it again."),
        ("unknown", "It was given up and may have been carried out; look at the record, or ask the operator, first."),
    ],
)
def test_one_that_an_operator_gave_up_says_whether_it_may_be_sent_again(own, name, applied, what):
    id_ = queue(own, name)
    settled(own, id_, "dead", applied, problem=REFUSED)

    on_ledger(own, skip, [id_], time.time())

    assert advice(own, id_) == what


def test_one_that_its_partner_cancelled_may_be_sent_again(own, name):
    id_ = queue(own, name)

    own.call("DELETE", f"/transactions/{id_}", token="shop")

    assert advice(own, id_) == (
        "It was not carried out and will not be; send the request again, with a new key, if it is wanted after all."
    )


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("upstream", "It waits until the system behind is ready again; do not send it again."),
        ("conflict", "Whether it was carried out cannot be told; do not send it again, the operator decides."),
    ],
)
def test_a_held_one_says_whom_it_waits_for(own, name, reason, what):
    id_ = queue(own, name)
    settled(own, id_, "held", "unknown", problem=REFUSED, reason=reason)

    assert advice(own, id_) == what


def test_work_of_a_client_that_is_shut_out_sends_its_partner_to_the_operator(own, name):
    id_ = queue(own, name, token="rival")
    on_ledger(own, begin_hold, "rival", time.time(), disabled=True)
    try:
        on_ledger(own, hold_client, "rival", time.time())

        assert advice(own, id_, token="rival") == "Your client is disabled; ask the operator."
    finally:
        on_ledger(own, release_client, "rival", time.time(), disabled=True)


# -- what is left of an answer


def test_result_that_was_erased_shows_its_status_and_says_so(own, name):
    id_ = own.call_json("POST", "/v1/queued-contacts", {"name": name}, token="shop").data["transaction"]
    settled(own, id_, "delivered", "yes", answer=record_answer(201, {"id": 7, "name": name}))

    erase(own, "name", name)

    seen = own.call("GET", f"/transactions/{id_}", token="shop")
    assert (seen.status, seen.data["state"], seen.data["applied"]) == (200, "delivered", "yes")
    assert seen.data["result"] is None
    assert seen.data["request"] == "(erased)"
    assert seen.data["advice"] == "Nothing is left to do."


def test_result_that_is_too_long_to_be_kept_is_told_as_gone(own, name):
    id_ = queue(own, name)
    settled(own, id_, "delivered", "yes", answer=record_answer(201, {"long": "x" * (1 << 20)}))

    result = own.call("GET", f"/transactions/{id_}", token="shop").data["result"]

    assert result == {"status": 201, "gone": NOT_KEPT}


def test_repetition_of_an_answer_that_was_erased_gets_its_status_and_the_reason(own, upstream, name):
    upstream.plan(f"/plain/{name}", answers(b'{"name": "%b"}' % name.encode(), "content-type: application/json"))
    first = post(own, f"/plain/{name}", key(name))
    erase(own, "name", name)

    again = post(own, f"/plain/{name}", key(name))

    assert (first.status, again.status) == (200, 200)
    assert again.header("idempotency-replayed") == "true"
    assert again.json()["data"] is None
    assert again.json()["meta"]["gone"] == ERASED
    assert len(upstream.seen_at(f"/plain/{name}")) == 1


def test_repetition_of_a_refusal_that_was_erased_is_410_and_tells_its_status(own, upstream, assert_problem, name):
    refusal = answers(b'{"name": "%b"}' % name.encode(), status="422 Unprocessable Entity")
    upstream.plan(f"/plain/{name}", refusal)
    first = post(own, f"/plain/{name}", key(name))
    erase(own, "name", name)

    again = post(own, f"/plain/{name}", key(name))

    assert first.status == 422
    assert_problem(again, 410, "answer-gone", detail=f"{ERASED} Its status was 422.")
    assert again.header("idempotency-replayed") == "true"
    assert len(upstream.seen_at(f"/plain/{name}")) == 1
