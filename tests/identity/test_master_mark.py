"""A store knows its master key again: another one is refused before it seals or hashes anything."""

import pytest

from entrepot.errors import SettingsError
from entrepot.identity.keys import Keyring
from entrepot.identity.master import MARK, Mark, MasterKey
from entrepot.identity.master_mark import expect_stored, forget, store_mark
from entrepot.store import schema
from entrepot.store.audit import Actor, Wanted, entries
from entrepot.store.engine import open_database

ANN = Actor("ann", "command", "an-operation-id")
OTHER = b"ab" * 32


@pytest.fixture
def database(store_url):
    database = open_database(store_url)
    schema.prepare(database)
    yield database
    database.close()


@pytest.fixture
def hand_in(tmp_path, monkeypatch):
    """Return a function that hands a master key in as systemd does, until None is handed in."""
    folder = tmp_path / "credentials"

    def hand_in(data):
        if data is None:
            monkeypatch.delenv("CREDENTIALS_DIRECTORY")
            return
        folder.mkdir(exist_ok=True)
        (folder / "master-key").write_bytes(data)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))

    return hand_in


def opened(directory):
    master = MasterKey("auto", directory)
    return master, Keyring.open(directory / "keys", master)


def test_a_store_that_a_command_began_refuses_the_key_that_systemd_hands_in(tmp_path, hand_in):
    opened(tmp_path)
    hand_in(OTHER)

    master, keyring = opened(tmp_path)

    for use in (lambda: master.subkey("client secrets"), lambda: keyring.current):
        with pytest.raises(SettingsError) as raised:
            use()
        assert "the systemd credential master-key" in str(raised.value)
        assert f"began with the file {tmp_path}/master.key" in str(raised.value)
        assert OTHER.decode() not in str(raised.value)


def test_a_store_that_units_began_with_a_credential_refuses_a_file_and_makes_none(tmp_path, hand_in):
    hand_in(OTHER)
    opened(tmp_path)
    hand_in(None)

    master, _ = opened(tmp_path)

    with pytest.raises(SettingsError, match=r"master\.key is not there.*began with the systemd credential master-key"):
        master.subkey("client secrets")
    assert not (tmp_path / "master.key").exists()

    (tmp_path / "master.key").write_text("cd" * 32)
    (tmp_path / "master.key").chmod(0o600)
    with pytest.raises(SettingsError, match=r"master\.key on .* holds another master key .* began with the systemd"):
        master.subkey("client secrets")


def test_the_same_key_at_another_place_is_the_stores(tmp_path, hand_in):
    _, keyring = opened(tmp_path)
    kid = keyring.current.kid
    hand_in((tmp_path / "master.key").read_bytes())
    (tmp_path / "master.key").unlink()

    _, again = opened(tmp_path)

    assert again.current.kid == kid


def test_no_key_is_made_where_another_is_known_though_all_others_are_lost(tmp_path):
    opened(tmp_path)
    (tmp_path / "master.key").unlink()
    for path in (tmp_path / "keys").iterdir():
        path.unlink()

    with pytest.raises(SettingsError, match="is not there"):
        opened(tmp_path)

    assert not (tmp_path / "master.key").exists()


def test_a_store_without_a_mark_gets_that_of_the_key_that_opens_its_keys(tmp_path, hand_in):
    opened(tmp_path)
    (tmp_path / MARK).unlink()
    hand_in(OTHER)

    opened(tmp_path)
    assert not (tmp_path / MARK).exists()

    hand_in(None)
    opened(tmp_path)
    assert (tmp_path / MARK).stat().st_mode & 0o077 == 0


def test_the_mark_says_nothing_of_the_key(tmp_path):
    master, _ = opened(tmp_path)

    assert (tmp_path / "master.key").read_text().strip() not in (tmp_path / MARK).read_text()
    assert len(bytes.fromhex(master.marked.fingerprint)) == 32


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"place": "x"}'])
def test_a_damaged_mark_is_told_and_nothing_is_used(tmp_path, content):
    opened(tmp_path)
    (tmp_path / MARK).write_bytes(content)

    with pytest.raises(SettingsError, match=r"master\.mark is damaged"):
        MasterKey("auto", tmp_path).subkey("client secrets")


def test_the_database_knows_the_key_when_the_files_are_lost_or_another_hosts(tmp_path, database):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    master, _ = opened(tmp_path / "here")
    store_mark(database, master)
    store_mark(database, master)

    other = MasterKey("auto", tmp_path / "there")
    expect_stored(database, other)
    with pytest.raises(SettingsError, match=r"there/master\.key is not there.*began with .*here/master\.key"):
        Keyring.open(tmp_path / "there" / "keys", other)
    other.make()
    with pytest.raises(SettingsError, match=r"there/master\.key .*another master key .*began with .*here/master\.key"):
        Keyring.open(tmp_path / "there" / "keys", other)
    assert not (tmp_path / "there" / MARK).exists()

    same = MasterKey(f"file:{tmp_path}/here/master.key", tmp_path / "there")
    expect_stored(database, same)
    assert Keyring.open(tmp_path / "there" / "keys", same).current


def test_after_a_theft_the_former_key_is_forgotten_and_the_next_one_taken(tmp_path, database, hand_in):
    master, _ = opened(tmp_path)
    store_mark(database, master)
    for path in (tmp_path / "keys").iterdir():
        path.unlink()
    hand_in(OTHER)

    assert forget(database, tmp_path, actor=ANN)
    assert not forget(database, tmp_path, actor=ANN)

    master = MasterKey("auto", tmp_path)
    expect_stored(database, master)
    assert Keyring.open(tmp_path / "keys", master).current
    assert master.marked == Mark(master.marked.fingerprint, master.place)
    with database.reading() as session:
        (entry,) = entries(session, Wanted(), 10)
    assert (entry.actor.name, entry.change.action, entry.change.kind) == ("ann", "forget", "master key")
    assert f"{tmp_path}/master.key" in entry.change.before["place"]
