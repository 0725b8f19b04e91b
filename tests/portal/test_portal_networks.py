"""A client with networks is served there alone, on every page that asks who it is."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from portal_support import FORM

from entrepot.catalog.snapshot import write_snapshot

INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"


@pytest.fixture
def page(services, shop, start_portal):
    """A portal that has been started, whose client ``shop`` may call from 10.0.0.0/8."""
    catalog = services.catalog()
    fenced = replace(shop, networks=(ip_network("10.0.0.0/8"),))
    write_snapshot(services.snapshot_path, replace(catalog, revision=2, clients={"shop": fenced}))
    return start_portal().test_client()


@pytest.fixture
def post(page, secret):
    """Return a function that posts a form of ``shop`` from an address, with its secret or another."""

    def post(path, source, *, secret=secret, **form):
        return page.post(path, data=form, auth=("shop", secret), environ_overrides={"REMOTE_ADDR": source})

    return post


@pytest.fixture
def token(post):
    return post("/oauth/token", INSIDE, **FORM).json["access_token"]


@pytest.fixture
def who_am_i(page, token):
    """Return a function that shows the token from an address."""

    def who_am_i(source):
        headers = {"Authorization": f"Bearer {token}"}
        return page.get("/oauth/whoami", headers=headers, environ_overrides={"REMOTE_ADDR": source})

    return who_am_i


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_form_from_another_network_is_refused(post, token, path):
    form = FORM if path == "/oauth/token" else {"token": token}

    outside = post(path, OUTSIDE, **form)

    assert (outside.status_code, outside.json["error"]) == (400, "unauthorized_client")
    assert post(path, INSIDE, **form).status_code == 200


def test_token_is_not_revoked_from_another_network(post, token, who_am_i):
    post("/oauth/revoke", OUTSIDE, token=token)

    assert who_am_i(INSIDE).status_code == 200


def test_caller_is_not_told_who_it_is_in_another_network(who_am_i):
    outside = who_am_i(OUTSIDE)

    assert (outside.status_code, outside.json["code"]) == (403, "forbidden")
    assert "client" not in outside.json.get("data", {})
    assert who_am_i(INSIDE).status_code == 200


def test_wrong_secret_from_another_network_is_told_nothing_of_networks(post):
    wrong = post("/oauth/introspect", OUTSIDE, secret="wrong", token="x")

    assert (wrong.status_code, wrong.json["error"]) == (401, "invalid_client")
