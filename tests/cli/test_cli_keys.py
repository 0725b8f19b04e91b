"""Signing keys, secrets and API keys by command."""

import json
import re

import jwt
import pytest

pytestmark = pytest.mark.slow

CATALOG = """\
upstreams:
  store: {kind: http, url: "http://127.0.0.1:1"}
partners:
  acme:
    name: Acme
    clients:
      shop: {scopes: [orders.read], api_keys: true}
      till: {scopes: [orders.read]}
"""
SECRET = re.compile(r"esk_[a-z2-7]{16}_[A-Za-z0-9_-]{43}\n")
API_KEY = re.compile(r"eak_([a-z2-7]{16})_[A-Za-z0-9_-]{43}\n")


@pytest.fixture
def run(entrepot, settings_file):
    """Run a command on the store of this test, which must go well, and return what it says."""

    def run_it(*arguments, code=0, **more):
        done = entrepot("--settings", settings_file, *arguments, **more)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run_it


@pytest.fixture
def catalog(run, tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    run("apply", path)


def test_keys_are_listed_and_rotated(run, catalog):
    (first,) = json.loads(run("key", "list", "--json"))
    before = run("token", "issue", "shop").strip()

    said = run("key", "rotate")
    due = json.loads(run("key", "rotate", "--due", "--json"))

    after = run("token", "issue", "shop").strip()
    signing, verifying = json.loads(run("key", "list", "--json"))
    assert said == f"tokens are signed from now on with the key {signing['kid']}\n"
    assert due == {"kid": None, "removed": []}
    assert [jwt.get_unverified_header(token)["kid"] for token in (before, after)] == [first["kid"], signing["kid"]]
    assert (signing["state"], verifying["kid"], verifying["state"]) == ("signing", first["kid"], "verifying")
    assert signing["rotates"]
    assert verifying["rotates"] is None


def test_a_key_that_is_older_than_the_settings_say_is_rotated_by_the_next_token(run, catalog, settings_file):
    (first,) = json.loads(run("key", "list", "--json"))
    path = settings_file.parent / f"store/keys/{first['kid']}.key"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"made_at": 1_600_000_000}))

    token = run("token", "issue", "shop").strip()

    assert jwt.get_unverified_header(token)["kid"] != first["kid"]


def test_a_store_whose_master_key_is_lost_says_so_and_still_revokes(run, catalog, settings_file):
    (settings_file.parent / "store/master.key").rename(settings_file.parent / "kept")

    assert "put it back from its backup" in run("token", "issue", "shop", code=1)
    assert "put it back from its backup" in run("client", "secret", "shop", code=1)

    run("token", "revoke", "--client", "shop")
    assert not (settings_file.parent / "store/master.key").exists()


def test_a_secret_is_printed_alone_and_listed_without_itself(run, catalog):
    printed = run("client", "secret", "shop")
    made = json.loads(run("client", "secret", "shop", "--label", "new till", "--expires", "90d", "--json"))
    listed = run("client", "secrets", "shop")
    rows = json.loads(run("client", "secrets", "--json"))

    assert SECRET.fullmatch(printed)
    assert set(made) == {"client_id", "secret", "key_id", "expires_at"}
    assert (made["client_id"], SECRET.fullmatch(made["secret"] + "\n") is None) == ("shop", False)
    assert [(row["key_id"], row["label"], row["state"]) for row in rows] == [
        (made["key_id"], "new till", "good"),
        (printed.split("_")[1], "", "good"),
    ]
    assert (rows[0]["expires"], rows[1]["expires"], rows[0]["used"]) == (made["expires_at"], None, None)
    assert made["secret"] not in listed
    assert len(listed.splitlines()) == 3


def test_an_api_key_is_printed_alone_and_has_a_list_of_its_own(run, catalog):
    printed = run("client", "api-key", "shop", "--label", "till 1")

    rows = json.loads(run("client", "api-keys", "shop", "--json"))

    assert [(row["key_id"], row["label"]) for row in rows] == [(API_KEY.fullmatch(printed)[1], "till 1")]
    assert json.loads(run("client", "secrets", "shop", "--json")) == []
    assert "api_keys: true" in run("client", "api-key", "till", "--label", "x", code=1)
    assert "required: --label" in run("client", "api-key", "shop", code=2)


def test_secrets_and_api_keys_are_revoked_by_key_id_or_by_themselves(run, catalog):
    first = json.loads(run("client", "secret", "shop", "--json"))
    second = run("client", "api-key", "shop", "--label", "x")

    assert run("client", "revoke-key", first["key_id"]) == f"revoked: {first['key_id']}\n"
    assert json.loads(run("client", "revoke-key", "-", "--json", stdin=second))["new"] is True
    assert run("client", "revoke-key", first["key_id"]).startswith("was revoked already")

    for kind in ("secrets", "api-keys"):
        assert [row["state"] for row in json.loads(run("client", kind, "--json"))] == ["revoked"]


def test_what_cannot_be_done_is_said_in_one_line(run, catalog):
    refused = [
        (("client", "secret", "nobody"), 1, "no client 'nobody'"),
        (("client", "secrets", "nobody"), 1, "no client 'nobody'"),
        (("client", "secret", "shop", "--expires", "soon"), 2, "neither a duration"),
        (("client", "secret", "shop", "--expires", "2001-01-01T00:00Z"), 2, "future"),
        (("client", "revoke-key", "esk_short_secret"), 2, "neither a key id nor a whole secret"),
        (("client", "revoke-key", "a" * 16), 1, "no secret or API key"),
    ]

    for arguments, code, says in refused:
        said = run(*arguments, code=code)
        assert says in said, arguments
        assert "esk_short" not in said
