"""What upstreams and operators do wrong, and what becomes of the work."""

import threading
import time

import pytest
from stand import PATIENCE_S, Reply, eventually, relay_catalog

from entrepot.courier.standing import IN_A_ROW

pytestmark = pytest.mark.slow


def test_what_fails_is_tried_again_after_the_time_that_the_upstream_asks_for(stand, receiver):
    replies = [Reply(503, fields={"Retry-After": "2"}), Reply()]
    receiver.script = lambda _: replies.pop(0)
    (id_,) = stand.put("one")

    stand.run()
    stand.wait_state([id_], "delivered")

    first, second = receiver.received
    assert second.at - first.at >= 2
    assert receiver.keys == [id_, id_]
    sight = stand.sight(id_)
    assert [(tried.outcome, tried.status) for tried in sight.tries] == [("transient", 503), ("delivered", 200)]


def test_what_fails_too_long_is_dead_and_nobody_knows_whether_it_was_applied(stand, receiver):
    receiver.script = lambda request: Reply(500 if request.path == "/brief" else 200)
    stand.run()
    stand.wait_state(stand.put("first"), "delivered")

    (id_,) = stand.put("one", endpoint="brief")
    stand.wait_state([id_], "dead")

    sight = stand.sight(id_)
    assert (sight.applied, sight.problem["code"]) == ("unknown", "upstream-unavailable")
    assert sight.attempts >= 2


def test_an_answer_that_did_not_come_leaves_the_outcome_unknown_until_one_comes(stand, receiver):
    was_seen = threading.Event()
    receiver.script = lambda _: None if len(receiver.received) == 1 else was_seen.wait(PATIENCE_S) and Reply()
    (id_,) = stand.put("one")

    stand.run()
    assert eventually(lambda: stand.sight(id_).applied == "unknown")
    was_seen.set()
    stand.wait_state([id_], "delivered")

    assert receiver.keys == [id_, id_]
    assert stand.sight(id_).applied == "yes"


def test_a_refused_account_holds_the_upstream_and_burns_no_attempt(stand, receiver):
    receiver.script = lambda _: Reply(401)
    ids = stand.put("one", "two", "three")

    stand.run()
    assert eventually(stand.holds)
    (hold,), seen_at = stand.holds(), time.time()
    stand.wait_state(ids, "queued")

    assert (hold.upstream, hold.reason) == ("carrier", "misconfigured")
    assert 5 < hold.until - seen_at < 10
    assert len(receiver.received) <= 3
    assert [(stand.sight(id_).state, stand.sight(id_).attempts) for id_ in ids] == [("queued", 0)] * 3


def test_an_endpoint_that_its_upstream_refuses_does_not_hold_the_others_for_long(stand, receiver):
    receiver.script = lambda request: Reply(403) if request.path == "/brief" else Reply()
    (refused,) = stand.put("refused", endpoint="brief")
    stand.run()
    assert eventually(stand.holds)

    others = stand.put(*map(str, range(20)))
    stand.wait_state(others, "delivered")

    assert stand.holds() == []
    assert stand.sight(refused).state in {"queued", "sending"}


def test_a_write_that_alone_is_refused_holds_up_nobody_and_burns_its_own_attempts(stand, receiver):
    receiver.script = lambda request: Reply(403) if request.body == b"poison" else Reply()
    stand.run()
    stand.wait_state(stand.put("first"), "delivered")

    (poison,) = stand.put("poison")
    assert eventually(lambda: any(each.body == b"poison" for each in receiver.received))
    begun = time.monotonic()
    others = stand.put(*map(str, range(20)))
    stand.wait_state(others, "delivered")

    assert time.monotonic() - begun < 3
    assert stand.holds() == []
    assert eventually(lambda: stand.sight(poison).attempts >= 2)
    stand.wait_state([poison], "waiting")
    sight = stand.sight(poison)
    assert (sight.applied, sight.problem["code"]) == ("no", "upstream-unavailable")


def test_a_refused_account_holds_the_upstream_though_all_went_well_before(stand, receiver):
    stand.run()
    stand.wait_state(stand.put("first"), "delivered")
    receiver.script = lambda _: Reply(401)

    ids = stand.put(*map(str, range(40)))

    assert eventually(stand.holds)
    assert sum(stand.sight(id_).attempts for id_ in ids) <= 2 * IN_A_ROW
    assert {stand.sight(id_).state for id_ in ids} <= {"queued", "waiting", "sending"}
    receiver.script = lambda _: Reply()
    stand.wait_state(ids, "delivered")


def test_an_upstream_that_says_that_the_first_try_is_still_in_work_is_asked_again(stand, receiver):
    answers = iter([None, Reply(409, fields={"Retry-After": "1"}), Reply()])
    receiver.script = lambda _: next(answers)

    (id_,) = stand.put("one")
    stand.run()

    stand.wait_state([id_], "delivered")
    assert len({each.key for each in receiver.received}) == 1
    assert len(receiver.received) == 3


def test_work_of_a_client_that_is_gone_is_held_until_it_is_back(stand, receiver):
    document = relay_catalog(receiver.url)
    kept = document["partners"].pop("acme")
    stand.hold()
    ids = stand.put("one", "two")
    others = stand.put("three", partner="bolt")
    stand.apply(document)
    stand.run()

    stand.release()
    stand.wait_state(others, "delivered")
    stand.wait_state(ids, "held")
    assert stand.sight(ids[0]).reason == "client"

    stand.apply(document | {"partners": {"acme": kept, **document["partners"]}})
    stand.wait_state(ids, "delivered")
    assert sorted(receiver.bodies) == ["one", "three", "two"]


def test_work_for_an_upstream_that_is_gone_waits_until_it_is_back(stand, receiver):
    document = relay_catalog(receiver.url)
    ids = stand.put("one")
    stand.apply({"partners": document["partners"]})
    stand.run()

    assert eventually(stand.holds)
    assert receiver.received == []

    stand.apply(document)
    stand.wait_state(ids, "delivered")
    assert stand.holds() == []


def test_work_goes_to_where_the_upstream_is_now(stand, receiver, free_port):
    stand.hold()
    ids = stand.put("one")
    stand.run()
    assert eventually(lambda: "catalog in force" in stand.log())

    stand.apply(relay_catalog(receiver.url + "/moved"))
    assert eventually(lambda: stand.log().count("catalog in force") == 2)
    stand.release()
    stand.wait_state(ids, "delivered")

    assert [request.path for request in receiver.received] == ["/moved/notes"]
