"""The portal says of a token what the data plane says, at the edges too."""

import time

import pytest
from portal_support import FORM

from entrepot.errors import InvalidToken
from entrepot.identity.tokens import Verifier, issue

ISSUER = "entrepot"


@pytest.fixture
def page(start_portal):
    """A portal that has been started, asked as by its gateway."""
    return start_portal().test_client()


@pytest.fixture
def make_token(services, shop):
    """Return a function that issues a token as another process of the host does."""

    def make_token(*, expires_s=3600.0, now=None):
        issued = issue(
            services.keyring, client=shop, scopes=shop.scopes, issuer=ISSUER, audience=ISSUER, expires_s=expires_s,
            now=time.time() if now is None else now,
        )  # fmt: skip
        return issued.token

    return make_token


@pytest.fixture
def data_plane(settings, services):
    """What a worker of the gateway verifies with."""
    leeway_s = settings.tokens.leeway_s
    return Verifier(services.keyring, services.revocations, issuer=ISSUER, audience=ISSUER, leeway_s=leeway_s)


def who_am_i(page, token):
    return page.get("/oauth/whoami", headers={"Authorization": f"Bearer {token}"}).status_code


def is_active(page, secret, token):
    return page.post("/oauth/introspect", data={"token": token}, auth=("shop", secret)).json["active"]


def test_token_of_a_key_that_the_portal_has_not_seen_is_revoked_when_it_says_so(
    page, services, secret, make_token, data_plane
):
    assert page.post("/oauth/token", data=FORM, auth=("shop", secret)).status_code == 200
    services.keyring.rotate()
    token = make_token().encode()

    answer = page.post("/oauth/revoke", data={"token": token}, auth=("shop", secret))

    assert answer.status_code == 200
    services.revocations.refresh()
    with pytest.raises(InvalidToken, match="revoked"):
        data_plane.claims(token, time.time())


def test_token_within_the_leeway_is_good_on_all_pages(page, secret, make_token, data_plane):
    # Times in tokens are whole seconds: it ended half a second to one and a half ago, and is good for three at least.
    token = make_token(expires_s=1.0, now=time.time() - 1.5)

    assert data_plane.claims(token.encode(), time.time()).client == "shop"
    assert is_active(page, secret, token)
    assert who_am_i(page, token) == 200


def test_token_of_a_clock_a_little_ahead_is_good_on_all_pages(page, secret, make_token, data_plane):
    token = make_token(now=time.time() + 3.5)

    assert data_plane.claims(token.encode(), time.time()).client == "shop"
    assert is_active(page, secret, token)
    assert who_am_i(page, token) == 200


def test_remembered_token_is_good_no_longer_than_the_leeway_says_on_all_pages(settings, page, secret, make_token):
    # It ended two seconds ago, and is good for two more at least.
    ended = int(time.time()) - 2
    token = make_token(expires_s=1.0, now=ended - 1)
    assert (is_active(page, secret, token), who_am_i(page, token)) == (True, 200)

    time.sleep(max(0.0, ended + settings.tokens.leeway_s + 0.1 - time.time()))

    assert (is_active(page, secret, token), who_am_i(page, token)) == (False, 401)
