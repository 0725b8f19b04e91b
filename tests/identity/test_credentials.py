import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from entrepot.errors import BadRequest, Conflict, NotFound, StoreUnavailable
from entrepot.identity.credential import FOREVER, CredentialFile, key_id_in
from entrepot.identity.credentials import MAX_LIVING, Credentials
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client
from entrepot.identity.uses import Uses
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, audit_entries

ANN = Actor("ann", "command", "an-operation-id")
BOB = Actor("bob", "command", "an-operation-id")
SECRET = re.compile(r"esk_[a-z2-7]{16}_[A-Za-z0-9_-]{43}")


class Counter:
    value = 0

    def read(self):
        return self.value

    def bump(self):
        self.value += 1


@pytest.fixture
def client():
    return Client("shop", "acme", frozenset({"orders:read"}), api_keys=True)


@pytest.fixture
def made_master(master):
    master.make()
    return master


@pytest.fixture
def open_credentials(tmp_path, made_master, open_revocations, clock):
    """Return a function that gives the credentials as another process would see them."""
    counter, opened = Counter(), []

    def open_it(database, master=made_master):
        file = CredentialFile(tmp_path / "credentials", counter, master)
        file.load()
        opened.append(Credentials(file, Uses(tmp_path / "uses"), open_revocations(), database, clock=clock))
        return opened[-1]

    yield open_it
    for credentials in opened:
        credentials.close()


@pytest.fixture
def credentials(open_credentials, database):
    return open_credentials(database)


def rows(database):
    with database.reading() as session:
        return {row.key_id: row for row in session.scalars(select(tables.Credential))}


def entries(database):
    with database.reading() as session:
        return [row._asdict() for row in session.execute(select(audit_entries).order_by(audit_entries.c.seq))]


def drop(database, table):
    with database.migrating() as connection:
        connection.exec_driver_sql(f"DROP TABLE {table}")


# -- made


def test_a_secret_is_good_at_once_on_every_worker_and_for_its_client_alone(credentials, open_credentials, client):
    worker = open_credentials(None)

    made = credentials.make("secret", client, actor=ANN)

    assert SECRET.fullmatch(made.text)
    for one in (credentials, worker):
        assert one.check_secret("shop", made.text).key_id == made.key_id
        assert one.check_secret("other", made.text) is None


def test_the_secret_itself_stands_nowhere(credentials, client, database, tmp_path):
    made = credentials.make("secret", client, label="till 1", actor=ANN)
    secret = made.text.split("_", 2)[2]

    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for content in kept)
    assert secret not in repr(made)
    assert secret not in json.dumps(entries(database), default=str)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("credentials", "uses")} == {0o600}


def test_what_is_made_stands_in_the_store_and_in_the_audit_log(credentials, client, database, now):
    made = credentials.make("secret", client, label=" till 1 ", expires_s=60, actor=ANN)

    row = rows(database)[made.key_id]
    assert (row.kind, row.client, row.partner, row.label, row.made_by) == ("secret", "shop", "acme", "till 1", "ann")
    assert row.expires_at == datetime.fromtimestamp(now + 60, UTC)
    (entry,) = entries(database)
    assert (entry["actor"], entry["action"], entry["kind"], entry["name"]) == ("ann", "make", "secret", made.key_id)
    assert entry["before"] is None
    assert entry["after"]["label"] == "till 1"


def test_a_client_has_several_secrets_for_the_time_of_a_rotation(credentials, client):
    old, new = (credentials.make("secret", client, actor=ANN) for _ in range(2))
    assert all(credentials.check_secret("shop", made.text) for made in (old, new))

    credentials.revoke(old.key_id, actor=ANN)

    assert credentials.check_secret("shop", old.text) is None
    assert credentials.check_secret("shop", new.text)


def test_a_secret_ends_when_it_was_said_to(credentials, client, clock):
    made = credentials.make("secret", client, expires_s=60, actor=ANN)
    clock.now += 59.5
    assert credentials.check_secret("shop", made.text)

    clock.now += 0.5

    assert credentials.check_secret("shop", made.text) is None
    assert [held.state for held in credentials.listed()] == ["expired"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text.replace("esk_", "eak_"),
        lambda text: text.upper(),
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\n",
        lambda text: "esk_" + "a" * 16 + text[20:],
        lambda text: "x" * 100_000,
    ],
)
def test_whatever_is_not_the_secret_is_refused(credentials, client, wrong):
    text = credentials.make("secret", client, actor=ANN).text

    assert credentials.check_secret("shop", wrong(text)) is None


def test_an_api_key_is_no_secret(credentials, client):
    made = credentials.make("api-key", client, actor=ANN)

    assert credentials.check_secret("shop", made.text) is None
    assert credentials.check_secret("shop", made.text.replace("eak_", "esk_")) is None


def test_an_api_key_needs_the_word_of_the_catalog(credentials):
    with pytest.raises(Conflict, match="api_keys"):
        credentials.make("api-key", Client("till", "acme", frozenset()), actor=ANN)


@pytest.mark.parametrize("label", ["x" * 81, "a\nb", "\x1b[2J"])
def test_a_label_is_short_and_printable(credentials, client, database, label):
    with pytest.raises(BadRequest, match="label"):
        credentials.make("secret", client, label=label, actor=ANN)

    assert rows(database) == {}


@pytest.mark.parametrize("expires_s", [0, -1, float("nan"), 1e12])
def test_a_credential_has_a_lifetime_that_can_be(credentials, client, expires_s):
    with pytest.raises(BadRequest):
        credentials.make("secret", client, expires_s=expires_s, actor=ANN)


def test_a_client_cannot_have_any_number_of_secrets(credentials, client):
    made = [credentials.make("secret", client, actor=ANN) for _ in range(MAX_LIVING)]
    with pytest.raises(Conflict, match="revoke some"):
        credentials.make("secret", client, actor=ANN)

    credentials.revoke(made[0].key_id, actor=ANN)

    assert credentials.make("secret", client, actor=ANN).expires_at == FOREVER
    credentials.make("api-key", client, actor=ANN)


def test_no_credential_is_made_that_cannot_be_written_down(credentials, open_credentials, client, database, tmp_path):
    with pytest.raises(StoreUnavailable):
        open_credentials(None).make("secret", client, actor=ANN)

    (tmp_path / "credentials").mkdir()
    with pytest.raises(StoreUnavailable):
        credentials.make("secret", client, actor=ANN)
    assert rows(database) == {}
    assert entries(database) == []


def test_another_master_key_lets_no_secret_in(credentials, open_credentials, client, tmp_path):
    made = credentials.make("secret", client, actor=ANN)
    (tmp_path / "other").write_text("ab" * 32)
    (tmp_path / "other").chmod(0o600)

    other = open_credentials(None, MasterKey(f"file:{tmp_path}/other", tmp_path))

    assert other.check_secret("shop", made.text) is None


def test_without_the_master_key_secrets_are_refused_for_now_and_the_host_alone_is_told_why(
    credentials, open_credentials, client, tmp_path, logged_by
):
    made = credentials.make("secret", client, actor=ANN)

    with pytest.raises(StoreUnavailable) as refused:
        open_credentials(None, MasterKey(f"file:{tmp_path}/missing", tmp_path)).check_secret("shop", made.text)

    assert str(tmp_path) not in str(refused.value)
    assert f"{tmp_path}/missing" in logged_by(Credentials)[-1].reason


# -- listed


def test_the_list_says_what_there_is_and_when_it_was_used(credentials, open_credentials, client, clock, now):
    first = credentials.make("secret", client, label="old", actor=ANN)
    clock.now += 10
    second = credentials.make("secret", client, label="new", expires_s=600, actor=ANN)
    credentials.make("api-key", client, actor=ANN)
    credentials.make("secret", Client("till", "acme", frozenset()), actor=ANN)
    clock.now += 10
    open_credentials(None).check_secret("shop", first.text)

    held = credentials.listed(kind="secret", client="shop")

    assert [(one.key_id, one.label, one.state, one.expires_at, one.used_at) for one in held] == [
        (second.key_id, "new", "good", now + 610, None),
        (first.key_id, "old", "good", None, now + 20),
    ]
    assert len(credentials.listed(partner="acme")) == 4
    assert credentials.listed(partner="other") == []


def test_a_wrong_secret_is_no_use(credentials, client):
    made = credentials.make("secret", client, actor=ANN)

    credentials.check_secret("shop", made.text[:-1] + ("A" if made.text[-1] != "A" else "B"))

    assert credentials.listed()[0].used_at is None


# -- revoked


def test_a_revocation_is_in_force_everywhere_and_stands_in_the_store(
    credentials, open_credentials, client, database, clock
):
    worker = open_credentials(None)
    made = credentials.make("secret", client, actor=ANN)
    clock.now += 5

    done = credentials.revoke(made.key_id, actor=ANN)

    assert (done.new, done.stored) == (True, True)
    assert worker.check_secret("shop", made.text) is None
    assert rows(database)[made.key_id].revoked_at.timestamp() == clock.now
    assert [held.state for held in credentials.listed()] == ["revoked"]
    entry = entries(database)[-1]
    assert (entry["action"], entry["name"], entry["before"]["revoked_at"]) == ("revoke", made.key_id, None)
    assert entry["after"]["revoked_at"]


def test_a_second_revocation_changes_nothing(credentials, client, database, clock):
    made = credentials.make("secret", client, actor=ANN)
    credentials.revoke(made.key_id, actor=ANN)
    first = rows(database)[made.key_id].revoked_at
    clock.now += 5

    assert not credentials.revoke(made.key_id, actor=ANN).new

    assert rows(database)[made.key_id].revoked_at == first
    assert len(entries(database)) == 2


def test_a_key_id_that_nobody_knows_is_an_error(credentials):
    with pytest.raises(NotFound):
        credentials.revoke("a" * 16, actor=ANN)


def test_a_revocation_works_while_the_database_is_away_and_over_a_restart(
    credentials, open_credentials, client, database
):
    made = credentials.make("secret", client, actor=ANN)

    done = open_credentials(None).revoke(made.key_id, actor=ANN)

    assert (done.new, done.stored) == (True, False)
    assert open_credentials(None).check_secret("shop", made.text) is None
    assert [held.state for held in open_credentials(database).listed()] == ["revoked"]


def test_a_revocation_that_the_disk_does_not_take_is_no_success(credentials, client, database, tmp_path):
    made = credentials.make("secret", client, actor=ANN)
    (tmp_path / "revocations").mkdir()

    with pytest.raises(StoreUnavailable):
        credentials.revoke(made.key_id, actor=ANN)

    assert rows(database)[made.key_id].revoked_at is None


# -- after a loss


def test_a_lost_file_is_made_again_from_the_store(credentials, open_credentials, client, database, tmp_path, clock):
    good, bad, over = (credentials.make("secret", client, expires_s=s, actor=ANN) for s in (None, None, 60))
    credentials.check_secret("shop", good.text)
    credentials.revoke(bad.key_id, actor=ANN)
    credentials.prepare()
    clock.now += 60
    for name in ("credentials", "uses", "revocations"):
        (tmp_path / name).unlink()
    started = open_credentials(database)
    assert started.check_secret("shop", good.text) is None

    started.prepare()

    assert [bool(started.check_secret("shop", made.text)) for made in (good, bad, over)] == [True, False, False]
    assert {held.key_id: held.used_at is not None for held in started.listed()} == {
        good.key_id: True,
        bad.key_id: False,
        over.key_id: False,
    }


def test_a_lost_row_is_made_again_from_the_file(credentials, open_credentials, client, database):
    made = credentials.make("secret", client, label="till 1", expires_s=600, actor=ANN)
    with database.transaction() as session:
        session.delete(session.scalars(select(tables.Credential)).one())
    started = open_credentials(database)

    started.prepare()

    (held,) = started.listed()
    assert (held.key_id, held.client, held.state) == (made.key_id, "shop", "good")
    assert held.label != "till 1"


@pytest.mark.parametrize("kind", ["secret", "api-key"])
def test_what_was_revoked_while_the_database_was_away_is_written_down_later(
    credentials, open_credentials, client, database, tmp_path, clock, kind
):
    bad, good = (credentials.make(kind, client, actor=ANN) for _ in range(2))
    clock.now += 60
    revoked_at = clock.now
    open_credentials(None).revoke(bad.key_id, actor=BOB)
    clock.now += 60

    for _ in range(2):
        open_credentials(database).prepare()

    stored = rows(database)
    assert stored[bad.key_id].revoked_at.timestamp() == revoked_at
    assert stored[good.key_id].revoked_at is None
    (entry,) = entries(database)[2:]
    assert (entry["actor"], entry["action"], entry["kind"], entry["name"]) == ("bob", "revoke", kind, bad.key_id)
    assert entry["at"].timestamp() == revoked_at
    assert (entry["before"]["revoked_at"], bool(entry["after"]["revoked_at"])) == (None, True)

    for path in tmp_path.glob("revocations*"):
        path.unlink()
    started = open_credentials(database)
    started.prepare()
    assert {held.key_id: held.state for held in started.listed()} == {bad.key_id: "revoked", good.key_id: "good"}
    assert started.check_secret("shop", bad.text) is None


def test_several_that_start_at_once_write_a_revocation_down_once(credentials, open_credentials, client, database):
    made = credentials.make("secret", client, actor=ANN)
    open_credentials(None).revoke(made.key_id, actor=BOB)
    starters = [open_credentials(database) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(starter.prepare) for starter in starters]

    assert [one.result() for one in done] == [None] * 4
    assert [entry["action"] for entry in entries(database)] == ["make", "revoke"]


def test_several_that_start_at_once_make_a_lost_row_again_once(credentials, open_credentials, client, database):
    credentials.make("secret", client, actor=ANN)
    with database.transaction() as session:
        session.delete(session.scalars(select(tables.Credential)).one())
    starters = [open_credentials(database) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(starter.prepare) for starter in starters]

    assert [one.result() for one in done] == [None] * 4
    assert len(rows(database)) == 1


def test_what_ended_goes_from_the_file_a_day_later(credentials, client, tmp_path, clock):
    credentials.make("secret", client, expires_s=60, actor=ANN)
    revoked = credentials.make("secret", client, actor=ANN)
    kept = credentials.make("secret", client, actor=ANN)
    credentials.revoke(revoked.key_id, actor=ANN)

    credentials.prepare()
    assert len((tmp_path / "credentials").read_bytes().splitlines()) == 2
    clock.now += 60 + 86_400
    credentials.prepare()

    assert len((tmp_path / "credentials").read_bytes().splitlines()) == 1
    assert credentials.check_secret("shop", kept.text)


def test_a_credential_that_has_gone_is_not_used_when_a_later_one_is(credentials, open_credentials, client, database):
    kept, gone = (credentials.make("secret", client, actor=ANN) for _ in range(2))
    running = open_credentials(database)
    credentials.revoke(gone.key_id, actor=ANN)
    credentials.prepare()

    later = open_credentials(database).make("secret", client, actor=ANN)
    assert open_credentials(None).check_secret("shop", later.text)

    used = {held.key_id: held.used_at is not None for held in running.listed()}
    assert used == {kept.key_id: False, gone.key_id: False, later.key_id: True}


def test_uses_go_to_the_store_to_the_minute(credentials, client, database, clock):
    made = credentials.make("secret", client, actor=ANN)
    clock.now += 125
    credentials.check_secret("shop", made.text)

    credentials.prepare()

    assert rows(database)[made.key_id].used_at == datetime.fromtimestamp(clock.now // 60 * 60, UTC)


def test_half_a_line_is_no_credential_and_harms_none(credentials, open_credentials, client, tmp_path):
    first = credentials.make("secret", client, actor=ANN)
    with (tmp_path / "credentials").open("ab") as file:
        file.write(b'{"key_id": "abc')

    second = open_credentials(None)
    assert second.check_secret("shop", first.text)
    third = credentials.make("secret", client, actor=ANN)

    assert second.check_secret("shop", third.text)
    assert len((tmp_path / "credentials").read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("abcdefghijklmnop", "abcdefghijklmnop"),
        ("eak_abcdefghijklmnop_" + "x" * 43, "abcdefghijklmnop"),
        ("esk_abcdefghijklmnop_" + "x" * 42, None),
        ("", None),
        ("../../etc/passwd", None),
    ],
)
def test_a_key_id_is_found_in_what_was_typed(text, found):
    assert key_id_in(text) == found
