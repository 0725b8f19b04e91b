"""What a restored store is: as the backup says, and closed to whoever was shut out since."""

import shutil
import stat
import tarfile

import pytest
from alembic import command
from backup_support import ANN, PASSWORD, SHOP, Store, bring, end, issue, lease, lets_in, rows
from sqlalchemy import func, select, text

from entrepot.backup.archive import BackupError
from entrepot.chassis.occupancy import DirectoryInUse
from entrepot.declarative.edit import new_partner
from entrepot.errors import InvalidToken, SettingsError, SignInFailed, StoreUnavailable
from entrepot.identity.operators import Operators, SignIns
from entrepot.identity.passwords import Passwords
from entrepot.identity.sessions import Sessions
from entrepot.store import identity as tables
from entrepot.store import schema
from entrepot.store.engine import open_database
from entrepot.store.ledger import queues

AZURE = new_partner("azure", {"name": "Azure", "clients": {"shop": {"scopes": ["orders.read"]}}})


def operators_of(services):
    return Operators(services.database, Passwords(), SignIns(services.shared))


def test_a_backup_is_one_private_file_without_the_master_key(store, backups):
    path = store.back_up(backups)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(backups.iterdir()) == [path]
    with tarfile.open(path) as archive:
        names = archive.getnames()
        everything = b"".join(archive.extractfile(name).read() for name in names)
    assert names[:2] == ["manifest.json", "database.sqlite"]
    assert (store.home / "master.key").read_bytes().strip() not in everything


def test_another_directory_becomes_what_was_backed_up(store, other, backups):
    with store.started() as services:
        services.edit(AZURE, actor=ANN)
        token = issue(services)
        bring(services)
        kept = rows(services)
    store.back_up(backups / "one.tar")

    done = other.restore(backups / "one.tar", keep_tokens=True)

    assert (done.held, done.tokens, done.warnings) == (1, "good", ())
    with other.started() as services:
        assert services.catalog().clients["shop"].partner == "azure"
        assert services.catalog().revision == 1
        assert lets_in(services, token).jti == token.jti
        assert [held.claims.jti for held in services.desk.issued()] == [token.jti]
        assert rows(services).keys() == kept.keys()
    assert stat.S_IMODE((other.home / "entrepot.db").stat().st_mode) == 0o600
    assert not (other.home / "replacement").exists()


def test_a_database_elsewhere_is_restored_there(store, tmp_path, backups):
    with store.started() as services:
        id_ = bring(services)
    path = store.back_up(backups)
    (tmp_path / "far").mkdir(mode=0o700)
    far = Store(tmp_path / "other", ENTREPOT_STORE_URL=f"sqlite:///{tmp_path}/far/my.db")
    far.home.mkdir()
    shutil.copy(store.home / "master.key", far.home)

    far.restore(path)

    with far.started() as services:
        assert rows(services)[id_][0] == "held"
    assert not [one.name for one in (tmp_path / "far").iterdir() if "restored" in one.name]


def test_unfinished_work_is_held_for_review_and_the_rest_is_as_it_was(store, other, backups):
    with store.started() as services:
        delivered, dead, sending, waiting, conflict = (bring(services) for _ in range(5))
        leases = {one.id: one for one in lease(services)}
        end(services, leases[delivered], "delivered", "yes")
        end(services, leases[dead], "dead", "no")
        end(services, leases[waiting], "waiting", "unknown")
        end(services, leases[conflict], "held", "unknown", reason="conflict")
        queued = bring(services)

    done = other.restore(store.back_up(backups))

    assert done.held == 4
    with other.started() as services:
        assert rows(services) == {
            delivered: ("delivered", None, "yes"),
            dead: ("dead", None, "unknown"),
            sending: ("held", "restore", "unknown"),
            waiting: ("held", "restore", "unknown"),
            conflict: ("held", "conflict", "unknown"),
            queued: ("held", "restore", "unknown"),
        }
        assert lease(services) == []
        with services.database.reading() as session:
            assert session.scalar(select(func.sum(queues.c.unfinished))) == 4


def test_what_was_held_goes_again_when_an_operator_replays_it(store, other, backups):
    with store.started() as services:
        id_ = bring(services)
    other.restore(store.back_up(backups))

    with other.started() as services:
        done = services.ledger.change("replay", [id_], actor=ANN)
        (one,) = lease(services)

    assert (done, one.id, one.applied) == ([id_], id_, "unknown")


def test_tokens_issued_before_are_refused_and_later_ones_good(store, other, backups):
    with store.started() as services:
        services.edit(AZURE, actor=ANN)
        before = issue(services)
        secret = services.credentials.make("secret", SHOP, actor=ANN).text

    other.restore(store.back_up(backups))

    with other.started() as services:
        with pytest.raises(InvalidToken, match="all tokens up to that time were revoked"):
            lets_in(services, before)
        assert lets_in(services, issue(services)).client == "shop"
        assert services.credentials.check_secret("shop", secret) is not None


@pytest.mark.slow
def test_who_was_shut_out_since_stays_out(store, backups):
    with store.started() as services:
        services.edit(AZURE, actor=ANN)
        token, spare = issue(services), issue(services)
        made = services.credentials.make("secret", SHOP, actor=ANN)
        operators = operators_of(services)
        for name in ("bob", "eve"):
            operators.add(name, "admin", PASSWORD, actor=ANN)
        bob = operators.check("bob", PASSWORD, "")
        session = Sessions(services.database, idle_s=999, longest_s=999).begin(bob, actor=ANN)
    path = store.back_up(backups)
    with store.started() as services:
        services.desk.revoke("jti", token.jti, actor=ANN)
        services.credentials.revoke(made.key_id, actor=ANN)
        services.callers.disable("partner", "azure", actor=ANN)
        operators = operators_of(services)
        operators.disable("eve", actor=ANN)
        operators.set_password("bob", PASSWORD[::-1], actor=ANN)

    store.restore(path, keep_tokens=True)

    with store.started() as services:
        with pytest.raises(InvalidToken, match="the token was revoked"):
            lets_in(services, token)
        with pytest.raises(InvalidToken, match="the partner is disabled"):
            lets_in(services, spare)
        assert services.credentials.check_secret("shop", made.text) is None
        operators = operators_of(services)
        with pytest.raises(SignInFailed):
            operators.check("eve", PASSWORD, "")
        with pytest.raises(SignInFailed):
            operators.check("bob", PASSWORD, "")
        assert operators.check("bob", PASSWORD[::-1], "").role == "admin"
        assert Sessions(services.database, idle_s=999, longest_s=999).find(session.text) is None


@pytest.mark.parametrize("lost", ["files", "database"])
def test_either_files_or_database_are_enough_to_know_who_was_shut_out(store, backups, lost):
    with store.started() as services:
        token = issue(services)
    path = store.back_up(backups)
    with store.started() as services:
        services.desk.revoke("jti", token.jti, actor=ANN)
        services.prepare()
    if lost == "files":
        (store.home / "revocations").unlink()
        (store.home / "revocations.ids").unlink()
    else:
        (store.home / "entrepot.db").write_bytes(b"this is no database")

    done = store.restore(path, keep_tokens=True)

    assert len(done.warnings) == (lost == "database")
    with store.started() as services, pytest.raises(InvalidToken, match="the token was revoked"):
        lets_in(services, token)


def test_the_last_word_about_a_partner_counts_whichever_file_has_it(store, backups):
    with store.started() as services:
        services.edit(AZURE, actor=ANN)
        services.callers.disable("partner", "azure", actor=ANN)
        services.callers.disable("client", "shop", actor=ANN)
    path = store.back_up(backups)
    with store.started() as services:
        services.callers.enable("partner", "azure", actor=ANN)

    store.restore(path)

    with store.started() as services:
        assert services.revocations.disabled("crane", "azure") is None
        assert services.revocations.disabled("shop", "azure") == "client"


def test_a_key_that_was_removed_does_not_come_back(store, backups):
    with store.started() as services:
        token = issue(services)
    path = store.back_up(backups)
    (stolen,) = (store.home / "keys").iterdir()
    with store.services() as services:
        services.keys.rotate(actor=ANN)
    stolen.unlink()

    store.restore(path, keep_tokens=True)

    assert not stolen.exists()
    with store.started() as services, pytest.raises(InvalidToken):
        lets_in(services, token)


def test_without_its_master_key_a_backup_changes_nothing(store, other, backups):
    path = store.back_up(backups)
    (other.home / "master.key").write_text("0" * 64)
    before = other.content()

    with pytest.raises(SettingsError, match=r"another master key.*--new-keys"):
        other.restore(path)

    assert other.content() == before


def test_a_lost_master_key_is_begun_anew_when_that_is_said(store, other, backups):
    with store.started() as services:
        services.edit(AZURE, actor=ANN)
        secret = services.credentials.make("secret", SHOP, actor=ANN).text
    path = store.back_up(backups)
    (other.home / "master.key").unlink()

    other.restore(path, new_keys=True)

    with other.started() as services:
        assert lets_in(services, issue(services)).client == "shop"
        assert services.credentials.check_secret("shop", secret) is None


def test_a_fresh_host_takes_the_keys_of_the_backup_when_its_master_key_is_in_place(store, tmp_path, backups):
    with store.started() as services:
        token = issue(services)
    path = store.back_up(backups)
    fresh = Store(tmp_path / "fresh")
    with fresh.started():
        pass
    shutil.copy(store.home / "master.key", fresh.home)

    fresh.restore(path, keep_tokens=True)

    with fresh.started() as services:
        assert lets_in(services, token).jti == token.jti


def test_a_store_in_use_is_not_restored(store, backups):
    path = store.back_up(backups)
    before = (store.home / "entrepot.db").read_bytes()

    with store.services(), pytest.raises(DirectoryInUse, match=r"is in use by the processes [0-9]+"):
        store.restore(path)

    assert (store.home / "entrepot.db").read_bytes() == before


def test_the_database_of_an_older_release_is_brought_up_to_date(store, other, backups):
    database = open_database(store.settings.store.url)
    with database.migrating() as connection:
        command.downgrade(schema.alembic_config(connection), "-1")
    database.close()

    with store.services() as services:
        assert "entrepot db upgrade" in services.absence
    path = store.back_up(backups)
    other.restore(path)

    with other.services() as services:
        assert schema.status(services.database).pending == ()


def test_the_database_of_a_much_newer_release_is_refused(store, other, backups):
    database = open_database(store.settings.store.url)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 's9_0001'"))
    database.close()
    path = store.back_up(backups)
    before = other.content()

    with pytest.raises(StoreUnavailable, match="run a newer release"):
        other.restore(path)

    assert other.content() == before


def test_a_restore_stands_in_the_audit_log(store, other, backups):
    other.restore(store.back_up(backups))

    with other.services() as services, services.database.reading() as session:
        found = session.execute(text("SELECT action, kind, actor FROM audit_entries ORDER BY seq")).all()
        sessions = session.scalar(select(func.count()).select_from(tables.OperatorSession))
    assert found[0] == ("restore", "store", "ann")
    assert sessions == 0


def test_a_backup_of_another_kind_of_database_is_refused(store, tmp_path, backups):
    path = store.back_up(backups)
    there = Store(tmp_path / "there", ENTREPOT_STORE_URL="postgresql+psycopg://nobody@127.0.0.1:1/none")

    with pytest.raises(BackupError, match=r"of a store in sqlite, and .* names one in postgresql"):
        there.restore(path)


@pytest.mark.postgres
def test_with_postgresql_the_rest_is_put_in_place_and_the_ledger_is_held(postgresql_url, tmp_path, backups):
    store = Store(tmp_path / "store", ENTREPOT_STORE_URL=postgresql_url)
    with store.started() as services:
        services.edit(AZURE, actor=ANN)
        token = issue(services)
        id_ = bring(services)
    path = store.back_up(backups)
    other = Store(tmp_path / "other", ENTREPOT_STORE_URL=postgresql_url)
    other.home.mkdir()
    shutil.copy(store.home / "master.key", other.home)

    done = other.restore(path, keep_tokens=True)

    assert done.held == 1
    with tarfile.open(path) as archive:
        assert "database.sqlite" not in archive.getnames()
    with other.started() as services:
        assert rows(services)[id_] == ("held", "restore", "unknown")
        assert lets_in(services, token).jti == token.jti
        assert "azure" in services.catalog().partners
