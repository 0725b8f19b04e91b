"""If-Match where writes may be queued: it goes directly, and overtakes nothing that was accepted before it."""

import pytest
from ledgers import fixture, key, rows
from problems import ProblemCheck

own = fixture()


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


@pytest.fixture
def contact(own, name):
    return f"/v1/queued-contacts/{own.erp.contact(14, name)}"


def change(own, contact, email, *lines, condition=True):
    etag = own.call("GET", contact, token="shop").header("etag")
    if condition:
        lines = (*lines, f"If-Match: {etag}")
    return own.call_json("PATCH", contact, {"email": email}, *lines, token="shop")


def email_of(own, contact):
    return own.call("GET", contact, token="shop").data["email"]


@pytest.mark.parametrize("with_key", [True, False])
def test_change_on_a_condition_does_not_overtake_what_waits(own, assert_problem, contact, name, with_key):
    lines = (key(name),) if with_key else ()
    waiting = change(own, contact, "first@x.be", condition=False).data["transaction"]

    refused = change(own, contact, "second@x.be", *lines)
    before = email_of(own, contact)
    own.call("DELETE", f"/transactions/{waiting}", token="shop")
    after = change(own, contact, "second@x.be", *lines)

    assert_problem(refused, 409, "conflict", detail="wait to be delivered")
    assert int(refused.header("retry-after")) >= 1
    assert before is None
    assert (after.status, after.data["email"]) == (200, "second@x.be")
    assert len(rows(own, target=f"PATCH {contact}")) == 1


def test_deletion_on_a_condition_does_not_overtake_what_waits(own, assert_problem, contact):
    change(own, contact, "first@x.be", condition=False)

    refused = own.call("DELETE", contact, "If-Match: *", token="shop")

    assert_problem(refused, 409, "conflict")
    assert own.call("GET", contact, token="shop").status == 200


def test_change_on_a_condition_passes_by_what_waits_for_other_records(own, contact, name):
    other = f"/v1/queued-contacts/{own.erp.contact(14, name)}"
    change(own, other, "first@x.be", condition=False)

    assert change(own, contact, "second@x.be").status == 200


@pytest.mark.slow
def test_change_on_a_condition_is_refused_during_maintenance(own, assert_problem, contact):
    own.entrepot("maintenance", "on", "--until", "20s")
    try:
        refused = change(own, contact, "early@x.be")
        before = email_of(own, contact)
    finally:
        own.entrepot("maintenance", "off")
    after = change(own, contact, "late@x.be")

    assert_problem(refused, 503, "upstream-unavailable", detail="held")
    assert 10 <= int(refused.header("retry-after")) <= 22
    assert before is None
    assert (after.status, after.data["email"]) == (200, "late@x.be")
