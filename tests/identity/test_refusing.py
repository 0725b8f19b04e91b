"""Who refuses while another takes back: what was answered is true, in the file and in the database."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select

from entrepot.errors import StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.credential import FILE, CredentialFile
from entrepot.identity.desk import Desk
from entrepot.identity.disabling import Disabling
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, audit_entries
from entrepot.store.engine import Database

ANN = Actor("ann", "command", "0" * 36)
BOB = Actor("bob", "command", "1" * 36)


class Process:
    """One that refuses *what* of the client shop, and takes it back."""

    def __init__(self, what, desk, disabling, revocations):
        self.what, self.desk, self.disabling, self.revocations = what, desk, disabling, revocations

    def refuse(self, actor):
        if self.what == "switch":
            return self.disabling.disable("client", "shop", actor=actor)
        return self.desk.revoke("client", "shop", actor=actor)

    def take_back(self, actor):
        if self.what == "switch":
            return self.disabling.enable("client", "shop", actor=actor)
        return self.desk.lift("client", "shop", actor=actor)


@pytest.fixture
def open_process(keyring, tmp_path, counter, master, issuer, clock, database, open_revocations):
    file = CredentialFile(tmp_path / FILE, counter, master)

    def open_it(what):
        revocations = open_revocations()
        desk = Desk(keyring, revocations, file, database, issuer=issuer, audience=issuer, clock=clock)
        return Process(what, desk, Disabling(revocations, database, clock=clock), revocations)

    yield open_it
    file.close()


@pytest.fixture
def old(clock):
    """A token from before all that is done here."""
    return Claims("shop", "acme", "a-token", frozenset(), clock.now + 3600, int(clock.now) - 1, "a-key")


def count(database, table):
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def rows(database):
    return count(database, tables.DisabledCaller) + count(database, tables.Revocation)


@pytest.mark.parametrize("later_s", [0, 60])
@pytest.mark.parametrize("what", ["switch", "cutoff"])
def test_who_refuses_while_another_takes_back_has_the_last_word(
    open_process, open_revocations, database, clock, old, what, later_s
):
    one, other = open_process(what), open_process(what)
    one.refuse(ANN)
    clock.sleep(later_s)
    is_refusing = threading.Event()
    add, other_add = one.revocations.add, other.revocations.add

    def told_add(entry):
        added = other_add(entry)
        is_refusing.set()
        return added

    with ThreadPoolExecutor(1) as pool:
        refusing = []

        def late_add(entry):
            refusing.append(pool.submit(other.refuse, BOB))
            assert is_refusing.wait(10)
            return add(entry)

        other.revocations.add, one.revocations.add = told_add, late_add
        one.take_back(ANN)
        assert refusing[0].result(10).stored

    assert rows(database) == 1
    revocations = open_revocations()
    assert revocations.is_revoked(old)
    told = count(database, audit_entries)
    open_process(what).desk.agree()
    assert open_revocations().is_revoked(old)
    assert (rows(database), count(database, audit_entries)) == (1, told)


@pytest.mark.parametrize("what", ["switch", "cutoff"])
def test_what_was_taken_back_and_not_committed_stays_refused(
    open_process, open_revocations, database, monkeypatch, old, what
):
    one = open_process(what)
    one.refuse(ANN)
    transaction = Database.transaction

    @contextmanager
    def lost_at_the_end(self):
        with transaction(self) as session:
            yield session
            raise StoreUnavailable("the server went away")

    monkeypatch.setattr(Database, "transaction", lost_at_the_end)
    with pytest.raises(StoreUnavailable):
        one.take_back(BOB)

    assert open_revocations().is_revoked(old)
    assert rows(database) == 1


@pytest.mark.parametrize("what", ["switch", "cutoff"])
def test_what_cannot_be_refused_again_on_disk_is_no_success(open_process, what):
    one, other = open_process(what), open_process(what)
    one.refuse(ANN)
    other_add = other.revocations.add

    def add_once(entry):
        other.revocations.add = add_in_vain
        added = other_add(entry)
        one.take_back(ANN)
        return added

    def add_in_vain(_entry):
        raise StoreUnavailable("the disk is full")

    other.revocations.add = add_once
    with pytest.raises(StoreUnavailable, match="disk is full"):
        other.refuse(BOB)
