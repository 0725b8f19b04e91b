"""API keys beside tokens: where the catalog lets a client use them, and no longer than they are good."""

import json

import pytest
from running import eventually

from entrepot.errors import Conflict

TARGET = "/v1/echo/keys"


@pytest.fixture
def made(gateway):
    """A fresh API key of the client that may use them."""
    return gateway.credential("api-key", "keyed", "test")


def call(gateway, key, *lines, method="GET", scheme="ApiKey", **options):
    return gateway.call(method, TARGET, f"Authorization: {scheme} {key}", *lines, **options)


@pytest.mark.parametrize("scheme", ["ApiKey", "apikey", "APIKEY"])
def test_fresh_key_is_taken_in_any_case_of_the_scheme(gateway, made, scheme):
    assert eventually(lambda: call(gateway, made.text, scheme=scheme).status == 200)


def test_key_has_the_scopes_of_its_client(gateway, made, assert_problem):
    assert eventually(lambda: call(gateway, made.text).status == 200)

    assert_problem(call(gateway, made.text, method="POST"), 403, "insufficient-scope")


def test_key_goes_to_no_upstream(gateway, upstream, made, name):
    answer = gateway.call("GET", f"/v1/echo/{name}", f"Authorization: ApiKey {made.text}")

    assert answer.status == 200
    assert made.text not in str(vars(upstream.seen_at(f"/echo/{name}")[0]))


def test_last_use_is_shown(gateway, made):
    assert eventually(lambda: call(gateway, made.text).status == 200)

    with gateway.services() as services:
        (held,) = [held for held in services.credentials.listed(client="keyed") if held.key_id == made.key_id]
    assert held.used_at


@pytest.mark.alone
def test_revoked_key_is_refused_within_a_second(gateway, assert_problem):
    made = json.loads(gateway.entrepot("client", "api-key", "keyed", "--label", "test", "--json").stdout)
    assert eventually(lambda: call(gateway, made["api_key"]).status == 200)

    gateway.entrepot("client", "revoke-key", made["key_id"])

    assert eventually(lambda: call(gateway, made["api_key"]).status == 401, 1.0)
    assert_problem(call(gateway, made["api_key"]), 401, "invalid-token")


def test_key_as_a_bearer_token_and_a_token_as_a_key_are_401(gateway, made, source, assert_problem):
    for scheme, credential in (("Bearer", made.text), ("ApiKey", gateway.tokens["keyed"])):
        answer = call(gateway, credential, scheme=scheme, source=source)
        assert_problem(answer, 401, "invalid-token")


def test_secret_of_a_client_is_no_api_key(gateway, source, assert_problem):
    secret = gateway.credential("secret", "keyed").text

    assert_problem(call(gateway, secret, source=source), 401, "invalid-token")
    assert_problem(call(gateway, secret.replace("esk_", "eak_"), source=source), 401, "invalid-token")


@pytest.mark.parametrize(
    "change", [lambda key: key[:-1], lambda key: key + "a", lambda key: key[:-4] + "AAAA", str.upper]
)
def test_changed_key_is_401(gateway, made, source, assert_problem, change):
    assert_problem(call(gateway, change(made.text), source=source), 401, "invalid-token")


def test_client_without_leave_gets_no_key(gateway):
    with pytest.raises(Conflict, match="api_keys"):
        gateway.credential("api-key", "shop", "x")


def test_key_stands_in_no_log(gateway, made):
    call(gateway, made.text)
    call(gateway, made.text[:-1])

    assert made.text[:-1] not in gateway.log()
