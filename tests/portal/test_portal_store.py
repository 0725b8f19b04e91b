"""What the portal does while its store is away, and while it changes."""

import time

import pytest
from portal_support import FORM, OPERATOR

from entrepot import standing_services
from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import write_snapshot
from entrepot.identity.disabling import Disabling
from entrepot.identity.refused import Revocation
from open_files import open_below


@pytest.fixture
def again_s(monkeypatch):
    """After how many seconds a portal looks for its database again: fewer than in earnest."""
    monkeypatch.setattr(standing_services, "AGAIN_S", 0.2)
    return 0.2


def until(claim, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.02)
    return claim()


def test_token_that_cannot_be_written_down_is_503_and_never_401(settings, ask, services, shop, secret):
    with services.database.writing():
        answer = ask("/oauth/token", ("shop", secret), **FORM)

    assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert ask("/oauth/token", ("shop", secret), **FORM).status_code == 200


def test_client_that_is_revoked_for_a_while_to_come_is_503_because_the_clock_went_back(ask, services, secret):
    later = int(time.time()) + 3600
    services.revocations.add(Revocation("client", "shop", later, later + 1, cutoff=later, by="test"))

    answer = ask("/oauth/token", ("shop", secret), **FORM)

    assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "5"


def test_portal_that_begins_without_its_database_gives_tokens_once_it_is_back(settings, start_portal, again_s, secret):
    path = settings.store.directory / "entrepot.db"
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    client = start_portal().test_client()

    away = client.post("/oauth/token", data=FORM, auth=("shop", secret))
    path.rmdir()
    aside.rename(path)

    assert (away.status_code, away.json["error"]) == (503, "temporarily_unavailable")
    assert until(lambda: client.post("/oauth/token", data=FORM, auth=("shop", secret)).status_code == 200)


def test_portal_whose_database_came_back_knows_keys_that_another_process_makes_then(
    settings, start_portal, again_s, services, shop, secret
):
    path = settings.store.directory / "entrepot.db"
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    client = start_portal().test_client()
    path.rmdir()
    aside.rename(path)
    assert until(lambda: client.post("/oauth/token", data=FORM, auth=("shop", secret)).status_code == 200)

    services.keys.rotate(actor=OPERATOR)
    token = services.desk.issue(shop, scopes=None, expires_s=600, actor=OPERATOR).token

    answer = client.get("/oauth/whoami", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("kind", ["client", "partner"])
def test_disabled_client_is_known_no_more(ask, services, secret, kind):
    assert ask("/oauth/token", ("shop", secret), **FORM).status_code == 200

    disabling = Disabling(services.revocations, services.database)
    disabling.disable(kind, {"client": "shop", "partner": "azure"}[kind], actor=OPERATOR)

    answer = ask("/oauth/token", ("shop", secret), **FORM)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


def test_revoked_secret_is_refused_at_once(ask, services, shop, secret):
    another = services.credentials.make("secret", shop, actor=OPERATOR)
    assert ask("/oauth/token", ("shop", another.text), **FORM).status_code == 200

    services.credentials.revoke(another.key_id, actor=OPERATOR)

    assert ask("/oauth/token", ("shop", another.text), **FORM).status_code == 401
    assert ask("/oauth/token", ("shop", secret), **FORM).status_code == 200


def test_client_that_left_the_catalog_is_refused(ask, services, secret):
    assert ask("/oauth/token", ("shop", secret), **FORM).status_code == 200

    write_snapshot(services.snapshot_path, Catalog(revision=2))

    assert until(lambda: ask("/oauth/token", ("shop", secret), **FORM).status_code == 401, 1.0)


def test_revocation_by_the_portal_is_in_the_audit_log(ask, services, secret):
    token = ask("/oauth/token", ("shop", secret), **FORM).json["access_token"]

    assert ask("/oauth/revoke", ("shop", secret), token=token).status_code == 200

    with services.database.reading() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT actor, face, source, action FROM audit_entries WHERE face = 'portal'"
        )
        assert rows.all() == [("shop", "portal", "127.0.0.1", "revoke")]


def test_damaged_key_file_is_told_to_the_operator_alone(settings, ask, secret, caplog):
    token = ask("/oauth/token", ("shop", secret), **FORM).json["access_token"]
    damaged = settings.store.directory / "keys" / "damaged.key"
    damaged.write_bytes(b"{}")
    damaged.chmod(0o600)

    refused = ask("/oauth/token", ("shop", secret), **FORM)
    revoked = ask("/oauth/revoke", ("shop", secret), token=token)

    assert refused.status_code in {500, 503}
    assert "damaged" not in refused.text
    assert any("damaged.key" in getattr(record, "reason", "") for record in caplog.records)
    assert revoked.status_code == 200
    damaged.unlink()
    assert ask("/oauth/token", ("shop", secret), **FORM).status_code == 200


def test_portal_that_waits_for_its_database_holds_no_more_open_files_with_time(settings, start_portal, again_s, secret):
    path = settings.store.directory / "entrepot.db"
    path.rename(path.with_name("aside"))
    path.mkdir()
    client = start_portal().test_client()
    form = {**FORM, "client_id": "shop", "client_secret": secret}

    counts = []
    for _ in range(3):
        time.sleep(again_s)
        assert client.post("/oauth/token", data=form).status_code == 503
        counts.append(len(open_below(settings.store.directory)))

    assert counts[-1] <= counts[0]
