"""Conditional writes (RFC 9110, section 13.1.1): nothing happens to a record that has changed meanwhile."""

import pytest

CONTACTS = "/v1/contacts"


@pytest.fixture
def contact(gateway, name):
    answer = gateway.call_json("POST", CONTACTS, {"name": name}, token="shop")
    return answer.header("location")


def etag_of(gateway, location):
    return gateway.call("GET", location, token="shop").header("etag")


def test_change_of_the_present_state_goes_through(gateway, contact):
    before = etag_of(gateway, contact)

    answer = gateway.call_json("PATCH", contact, {"email": "new@example.com"}, f"If-Match: {before}", token="shop")

    assert (answer.status, answer.data["email"]) == (200, "new@example.com")
    assert etag_of(gateway, contact) != before


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("tag", ['"0123"', 'W/"0123"', '"0", "1"'])
def test_write_to_another_state_changes_nothing(gateway, assert_problem, contact, method, tag):
    before = etag_of(gateway, contact)
    send = gateway.call_json if method == "PATCH" else gateway.call
    body = ({"email": "new@example.com"},) if method == "PATCH" else ()

    answer = send(method, contact, *body, f"If-Match: {tag}", token="shop")

    assert_problem(answer, 412, "precondition-failed")
    assert etag_of(gateway, contact) == before


@pytest.mark.parametrize("star", [True, False])
def test_delete_of_the_present_state_goes_through(gateway, contact, star):
    tag = "*" if star else etag_of(gateway, contact)

    assert gateway.call("DELETE", contact, f"If-Match: {tag}", token="shop").status == 204
    assert gateway.call("GET", contact, token="shop").status == 404


def test_delete_of_a_missing_record_is_404_whatever_the_condition(gateway, assert_problem):
    assert_problem(gateway.call("DELETE", f"{CONTACTS}/999999", 'If-Match: "x"', token="shop"), 404, "record-not-found")


def test_answer_to_a_write_has_the_tag_of_the_record_as_read(gateway, name):
    made = gateway.call_json("POST", CONTACTS, {"name": name}, token="shop")
    location = made.header("location")
    read = etag_of(gateway, location)

    changed = gateway.call_json("PATCH", location, {"email": "a@example.com"}, f"If-Match: {read}", token="shop")

    assert made.header("etag") == read
    assert changed.header("etag") == etag_of(gateway, location) != read
