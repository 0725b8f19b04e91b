"""Which transactions of its partner a client sees and cancels: its own, and of the others what its scopes open."""

import pytest
from ledgers import fixture
from problems import ProblemCheck

ledger = fixture()


@pytest.fixture(scope="module")
def own(ledger):
    ledger.tokens["elsewhere"] = ledger.mint.client("reader", "azure", ["contacts.read"])
    ledger.tokens["narrow-shop"] = ledger.mint.client("shop", "azure", ["contacts.read"])
    ledger.tokens["writer"] = ledger.mint.client("steady", "azure", ["relay.write"])
    return ledger


@pytest.fixture(scope="module")
def assert_problem(own):
    return ProblemCheck(own)


@pytest.fixture
def queued(own, name):
    """The id of a transaction of the client ``shop``."""
    return own.call("POST", f"/v1/queued/{name}", token="shop").data["transaction"]


def listed(own, token, query="state=queued&limit=100"):
    return [each["transaction"] for each in own.call("GET", f"/transactions?{query}", token=token).data]


def test_client_without_a_scope_of_the_endpoint_does_not_see_what_others_sent(own, assert_problem, queued):
    looked = own.call("GET", f"/transactions/{queued}", token="elsewhere")
    cancelled = own.call("DELETE", f"/transactions/{queued}", token="elsewhere")

    absent = assert_problem(own.call("GET", f"/transactions/{queued[:-1]}x", token="elsewhere"), 404, "not-found")
    assert assert_problem(looked, 404, "not-found")["detail"] == absent["detail"]
    assert assert_problem(cancelled, 404, "not-found")["detail"] == absent["detail"]
    assert queued not in listed(own, "elsewhere")
    assert own.call("GET", f"/transactions/{queued}", token="shop").data["state"] == "queued"


def test_read_scope_shows_what_others_sent_and_does_not_cancel_it(own, assert_problem, queued):
    looked = own.call("GET", f"/transactions/{queued}", token="reader")
    cancelled = own.call("DELETE", f"/transactions/{queued}", token="reader")

    assert (looked.status, looked.data["state"]) == (200, "queued")
    assert queued in listed(own, "reader")
    assert_problem(cancelled, 403, "insufficient-scope")
    assert 'scope="relay.write"' in cancelled.header("www-authenticate")
    assert own.call("GET", f"/transactions/{queued}", token="shop").data["state"] == "queued"


def test_write_scope_shows_and_cancels_what_others_sent(own, queued):
    assert queued in listed(own, "writer")
    assert own.call("DELETE", f"/transactions/{queued}", token="writer").status == 204
    assert own.call("GET", f"/transactions/{queued}", token="writer").data["state"] == "cancelled"


def test_client_sees_and_cancels_its_own_whatever_its_token_opens(own, queued):
    assert queued in listed(own, "narrow-shop")
    assert own.call("GET", f"/transactions/{queued}", token="narrow-shop").status == 200
    assert own.call("DELETE", f"/transactions/{queued}", token="narrow-shop").status == 204


def test_pages_go_on_past_what_the_client_does_not_see(own, name):
    for number in range(5):
        own.call("POST", f"/v1/queued/{name}-{number}", token="shop")
    found, target = [], "/transactions?limit=2"
    while target:
        page = own.call("GET", target, token="elsewhere").json()
        found += page["data"]
        target = (page["meta"]["pagination"]["next"] or "").removeprefix("http://gateway.test")

    assert found == []
