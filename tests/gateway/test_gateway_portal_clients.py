"""Programs that nobody here wrote get, use, introspect and give up tokens: Authlib and requests-oauthlib."""

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, InvalidScopeError
from portals import PortalProcess
from requests_oauthlib import OAuth2Session as RequestsSession
from running import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def portal(gateway):
    with PortalProcess(gateway) as portal:
        yield portal


@pytest.fixture(scope="module")
def secret(portal):
    return portal.secret("shop")


@pytest.fixture
def base(gateway, monkeypatch):
    """The URL of the gateway, which both libraries would rather see with TLS."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    return f"http://127.0.0.1:{gateway.port}"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_goes_the_whole_way(portal, secret, base, method):
    with AuthlibSession("shop", secret, token_endpoint_auth_method=method) as session:
        token = session.fetch_token(f"{base}/oauth/token", grant_type="client_credentials", scope="relay.read")
        assert session.get(f"{base}/v1/echo/authlib").status_code == 200

        found = session.introspect_token(f"{base}/oauth/introspect", token["access_token"])
        assert (found.json()["active"], found.json()["scope"]) == (True, "relay.read")

        assert session.revoke_token(f"{base}/oauth/revoke", token["access_token"]).status_code == 200
        assert eventually(lambda: session.get(f"{base}/v1/echo/authlib").status_code == 401, 1.0)
        again = session.introspect_token(f"{base}/oauth/introspect", token["access_token"])
        assert again.json() == {"active": False}


def test_authlib_understands_a_refusal(portal, base):
    from authlib.integrations.base_client import OAuthError  # noqa: PLC0415 - the name of two libraries

    with AuthlibSession("shop", "wrong") as session, pytest.raises(OAuthError) as refused:
        session.fetch_token(f"{base}/oauth/token", grant_type="client_credentials")

    assert refused.value.error == "invalid_client"


def test_authlib_checks_the_metadata(gateway, portal, base):
    document = gateway.call("GET", get_well_known_url(base)).json()
    metadata = AuthorizationServerMetadata(document)

    for name in sorted(set(document) - {"response_types_supported"}):
        getattr(metadata, f"validate_{name}")()


def test_requests_oauthlib_goes_the_whole_way(portal, secret, base):
    with RequestsSession(client=BackendApplicationClient("shop")) as session:
        token = session.fetch_token(f"{base}/oauth/token", client_id="shop", client_secret=secret)
        assert session.get(f"{base}/v1/echo/requests").status_code == 200

        form = {"token": token["access_token"]}
        found = session.post(f"{base}/oauth/introspect", data=form, auth=("shop", secret), withhold_token=True)
        assert found.json()["active"] is True

        done = session.post(f"{base}/oauth/revoke", data=form, auth=("shop", secret), withhold_token=True)
        assert done.status_code == 200
        assert eventually(lambda: session.get(f"{base}/v1/echo/requests").status_code == 401, 1.0)


@pytest.mark.parametrize(
    ("given", "scope", "refusal"), [("wrong", None, InvalidClientError), (None, ["no.such"], InvalidScopeError)]
)
def test_requests_oauthlib_understands_a_refusal(portal, secret, base, given, scope, refusal):
    client = BackendApplicationClient("shop", scope=scope)
    with RequestsSession(client=client) as session, pytest.raises(refusal):
        session.fetch_token(f"{base}/oauth/token", client_id="shop", client_secret=given or secret)
