import time

import pytest

from entrepot.errors import InvalidToken, SettingsError
from entrepot.identity.admission import admit
from entrepot.identity.api_keys import ApiKeys, claims_of
from entrepot.identity.credential import FILE, CredentialFile
from entrepot.identity.credentials import Credentials
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocation
from entrepot.identity.uses import FILE as USES
from entrepot.identity.uses import Uses
from entrepot.store.audit import Actor
from entrepot.store.engine import open_database

ANN = Actor("ann", "command", "an-operation-id")


@pytest.fixture
def client():
    return Client("shop", "acme", frozenset({"orders:read"}), api_keys=True)


@pytest.fixture
def desk(tmp_path, sqlite_url, fill_store, master, counter, revocations, clock):
    """What makes and revokes API keys, in another process than the worker."""
    master.make()
    fill_store(tmp_path / "store")
    database = open_database(sqlite_url)
    file = CredentialFile(tmp_path / FILE, counter, master)
    yield Credentials(file, Uses(tmp_path / USES), revocations, database, clock=clock, sleep=clock.sleep)
    file.close()
    database.close()


@pytest.fixture
def worker(tmp_path, counter, master):
    keys = ApiKeys.open(tmp_path, counter, master)
    yield keys
    keys.close()


@pytest.fixture
def enter(worker, open_revocations, client, now):
    """Return a function that lets a key in, as a worker does; it returns what the key allows."""
    revocations = open_revocations()

    def ask(key, client=client, now=now):
        found = worker.find(key.encode(), now)
        claims = claims_of(found, client)
        if revocations.has_changed():
            revocations.refresh()
        admit(claims, {client.name: client}, revocations)
        worker.note_use(found, now)
        return claims

    return ask


def test_a_fresh_key_is_good_on_a_worker_that_runs_and_allows_what_its_client_may(desk, enter, client):
    made = desk.make("api-key", client, label="till 1", actor=ANN)

    claims = enter(made.text)

    assert (claims.client, claims.partner, claims.jti) == ("shop", "acme", made.key_id)
    assert claims.scopes == client.scopes
    assert desk.listed()[0].used_at is not None


def test_the_worker_needs_no_database(desk, enter, client, tmp_path):
    made = desk.make("api-key", client, actor=ANN)
    for path in tmp_path.glob("store/*"):
        path.unlink()

    assert enter(made.text).jti == made.key_id


def test_a_secret_is_no_api_key(desk, enter, client):
    made = desk.make("secret", client, actor=ANN)

    for text in (made.text, made.text.replace("esk_", "eak_")):
        with pytest.raises(InvalidToken, match="not known"):
            enter(text)


@pytest.mark.parametrize("key", ["", "eak_", "eak_" + "a" * 16 + "_" + "b" * 43, "\xff\xfe", "x" * 9000, "é"])
def test_a_key_that_nobody_made_is_refused(desk, enter, key):
    with pytest.raises(InvalidToken, match="not known"):
        enter(key)


def test_a_key_ends_when_it_was_said_to(desk, enter, client, now):
    made = desk.make("api-key", client, expires_s=60, actor=ANN)
    assert enter(made.text, now=now + 59)

    with pytest.raises(InvalidToken, match="expired"):
        enter(made.text, now=now + 60)


def test_a_revoked_key_is_refused_at_the_next_request(desk, enter, client):
    made, other = (desk.make("api-key", client, actor=ANN) for _ in range(2))
    enter(made.text)

    desk.revoke(made.key_id, actor=ANN)

    with pytest.raises(InvalidToken, match="revoked"):
        enter(made.text)
    assert enter(other.text)


@pytest.mark.parametrize(("kind", "value"), [("client", "shop"), ("partner", "acme"), ("all", "")])
def test_revoking_all_of_a_client_ends_its_keys_and_not_a_later_one(desk, enter, client, revocations, now, kind, value):
    made = desk.make("api-key", client, actor=ANN)

    revocations.add(Revocation(kind, value, now, now + 1e6, cutoff=int(now)))

    with pytest.raises(InvalidToken, match="revoked"):
        enter(made.text)
    assert enter(desk.make("api-key", client, actor=ANN).text)


def test_the_catalog_can_take_the_right_to_keys_away(desk, enter, client):
    made = desk.make("api-key", client, actor=ANN)

    with pytest.raises(InvalidToken, match="may not use API keys"):
        enter(made.text, Client("shop", "acme", client.scopes))
    with pytest.raises(InvalidToken):
        enter(made.text, Client("shop", "other", client.scopes, api_keys=True))


def test_a_lost_master_key_is_told_and_no_key_let_in(desk, client, tmp_path, counter):
    made = desk.make("api-key", client, actor=ANN)
    worker = ApiKeys.open(tmp_path, counter, MasterKey(f"file:{tmp_path}/missing", tmp_path))

    with pytest.raises(SettingsError, match="master key"):
        worker.find(made.text.encode(), 0.0)
    worker.close()


def test_an_upgraded_store_without_the_files_has_no_keys(tmp_path, counter, master, now):
    worker = ApiKeys.open(tmp_path, counter, master)

    worker.refresh()

    with pytest.raises(InvalidToken):
        worker.find(b"eak_" + b"a" * 16 + b"_" + b"b" * 43, now)


def test_a_check_takes_microseconds(desk, worker, client, now):
    made = desk.make("api-key", client, actor=ANN).text.encode()
    worker.find(made, now)

    def took_s(checks=1000):
        begun = time.perf_counter()
        for _ in range(checks):
            worker.note_use(worker.find(made, now), now)
        return (time.perf_counter() - begun) / checks

    # A signature costs 200 µs.
    assert min(took_s() for _ in range(5)) < 50e-6


def test_uses_of_many_keys_fit_into_the_file(tmp_path, now):
    one, other = Uses(tmp_path / USES), Uses(tmp_path / USES)
    one.note(0, now)
    assert one.at(0) is None

    for number in (0, 511, 512, 5000):
        one.make_room(number)
        other.note(number, now + number)

    assert [one.at(number) for number in (0, 511, 512, 5000)] == [now, now + 511, now + 512, now + 5000]
    assert one.at(1) is None
    assert one.at(1_000_000) is None
    one.make_room(512)
    assert other.at(512) is None
