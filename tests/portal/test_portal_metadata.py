"""The metadata of the token endpoint (RFC 8414): where they stand, whose they are, and who may keep them."""

import pytest

from entrepot.settings import load_settings

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def public_url():
    return ""


@pytest.fixture
def settings(tmp_path, public_url):
    text = f"[store]\ndirectory = {tmp_path}/store\n[gateway]\npublic_url = {public_url}\n"
    (tmp_path / "entrepot.ini").write_text(text)
    return load_settings(tmp_path / "entrepot.ini", {})


@pytest.fixture
def page(services, start_portal):
    return start_portal().test_client()


def test_what_a_caller_says_of_the_host_is_kept_by_nobody(page):
    answer = page.get(METADATA, headers={"Host": "evil.example"})

    assert answer.json["token_endpoint"] == "http://evil.example/oauth/token"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("public_url", ["https://api.example.com"])
def test_metadata_of_a_public_url_are_the_same_for_every_host_and_may_be_kept(page):
    answer = page.get(METADATA, headers={"Host": "evil.example"})

    assert answer.json["token_endpoint"] == "https://api.example.com/oauth/token"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize("public_url", ["https://api.example.com/trade/v1", "https://api.example.com/trade/v1/"])
def test_metadata_of_an_issuer_with_a_path_stand_where_rfc_8414_looks_for_them(page):
    answer = page.get(f"{METADATA}/trade/v1")

    assert answer.json["issuer"] == "https://api.example.com/trade/v1"
    assert answer.json["jwks_uri"] == "https://api.example.com/trade/v1/.well-known/jwks.json"


@pytest.mark.parametrize(
    ("public_url", "path"),
    [
        ("https://api.example.com/trade/v1", "v1"),
        ("https://api.example.com/trade/v1", "trade"),
        ("https://api.example.com/trade/v1", "trade/v1/more"),
        ("https://api.example.com", "api.example.com"),
        ("", "localhost"),
    ],
)
def test_there_are_no_metadata_of_another_issuer(page, path):
    assert page.get(f"{METADATA}/{path}").status_code == 404
