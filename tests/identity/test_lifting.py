"""What was revoked up to a time is good again once that is lifted: everywhere, for good, and nothing else is."""

import pytest
from sqlalchemy import select

from entrepot.errors import StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.credential import FILE, CredentialFile
from entrepot.identity.desk import Desk, Lifted
from entrepot.identity.refused import Lift
from entrepot.identity.revocation import KEPT_S, Revocation
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, audit_entries

NOW = 1_800_000_000
LATER = NOW + 3600
ANN = Actor("ann", "command", "0" * 36)
BOB = Actor("bob", "command", "1" * 36)
KINDS = [("client", "shop"), ("partner", "acme"), ("all", "")]


def claims(issued_at=NOW, jti="t"):
    return Claims("shop", "acme", jti, frozenset(), LATER, issued_at, "k")


def cutoff(kind="client", value="shop", at=NOW):
    return Revocation(kind, value, NOW, LATER, cutoff=at)


def lift(kind="client", value="shop", at=NOW):
    return Lift(kind, value, NOW, float(at), "ann")


# -- the file


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_what_is_lifted_is_good_again_in_running_processes_and_new_ones(revocations, open_revocations, kind, name):
    other = open_revocations()
    revocations.add(cutoff(kind, name))
    other.refresh()
    assert other.is_revoked(claims())

    assert revocations.add(lift(kind, name))
    assert other.has_changed()
    other.refresh()

    assert not any(each.is_revoked(claims()) for each in (revocations, other, open_revocations()))
    assert not revocations.add(lift(kind, name))


def test_lifting_takes_back_nothing_else(revocations, open_revocations):
    for kind, name in KINDS:
        revocations.add(cutoff(kind, name))
    revocations.add(Revocation("jti", "stolen", NOW, LATER))

    revocations.add(lift("client", "shop"))
    revocations.add(lift("all", ""))
    assert open_revocations().cutoff("shop", "acme") == NOW
    revocations.add(lift("partner", "acme"))

    started = open_revocations()
    assert started.cutoff("shop", "acme") == -1
    assert [started.is_revoked(claims(jti=jti)) for jti in ("stolen", "other")] == [True, False]


def test_what_is_revoked_after_a_lift_counts_also_when_it_ends_earlier(revocations, open_revocations):
    revocations.add(cutoff(at=NOW))
    revocations.add(lift())

    assert revocations.add(cutoff(at=NOW - 100))

    for each in (revocations, open_revocations()):
        assert each.cutoff("shop", "acme") == NOW - 100
        assert not each.is_revoked(claims(NOW))


def test_a_file_that_is_read_anew_never_lets_in_what_is_revoked(revocations, open_revocations):
    worker = open_revocations()
    revocations.add(cutoff(at=NOW))
    revocations.add(lift())
    revocations.add(cutoff(at=NOW))
    worker.refresh()
    version = worker.version

    revocations.compact(NOW)
    worker.refresh()

    assert worker.is_revoked(claims())
    assert worker.since(version) == []


def test_a_worker_that_slept_over_lift_and_compaction_lets_the_client_in(revocations, open_revocations):
    worker = open_revocations()
    revocations.add(cutoff(at=NOW))
    worker.refresh()
    revocations.add(lift())
    revocations.add(cutoff(at=NOW - 100))

    revocations.compact(NOW + 60)
    revocations.compact(NOW + 61)
    worker.refresh()

    assert worker.cutoff("shop", "acme") == open_revocations().cutoff("shop", "acme") == NOW - 100


def test_compaction_forgets_what_was_lifted_and_in_the_end_the_lift(revocations, tmp_path):
    def lines():
        return (tmp_path / "revocations").read_bytes().count(b"\n")

    revocations.add(Revocation("client", "shop", NOW, NOW + 10 * KEPT_S, cutoff=NOW))
    revocations.add(lift())

    revocations.compact(NOW + 60)
    assert lines() == 1

    revocations.compact(NOW + KEPT_S + 60)
    assert lines() == 0


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"jti","value":"a","cutoff":1,"lifted_at":1,"by":""}',
        b'{"kind":"client","value":"shop","cutoff":"1","lifted_at":1}',
        b'{"kind":"client","value":"shop","cutoff":1,"lifted_at":null}',
        b'{"kind":"client","cutoff":1,"lifted_at":1}',
    ],
)
def test_a_line_that_is_no_whole_lift_lets_nobody_in(revocations, open_revocations, tmp_path, line):
    revocations.add(cutoff())
    with (tmp_path / "revocations").open("ab") as file:
        file.write(line + b"\n")

    assert open_revocations().is_revoked(claims())


# -- the desk


@pytest.fixture
def clock(now):
    class Clock:
        def __call__(self):
            return self.now

    clock = Clock()
    clock.now = now + 0.25
    return clock


@pytest.fixture
def open_desk(keyring, tmp_path, counter, master, issuer, clock):
    file = CredentialFile(tmp_path / FILE, counter, master)

    def open_it(database, revocations):
        return Desk(keyring, revocations, file, database, issuer=issuer, audience=issuer, clock=clock)

    yield open_it
    file.close()


@pytest.fixture
def desk(open_desk, database, revocations):
    return open_desk(database, revocations)


def rows(database):
    with database.reading() as session:
        return list(session.scalars(select(tables.Revocation)))


def audited(database):
    with database.reading() as session:
        found = session.execute(select(audit_entries).order_by(audit_entries.c.seq))
        return [(row.actor, row.face, row.action, row.kind, row.name) for row in found]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_lifting_is_written_down_with_what_was_before(desk, database, kind, name, clock):
    until = int(clock.now)
    desk.revoke(kind, name, actor=ANN)

    assert desk.lift(kind, name, actor=BOB) == Lifted(kind, name, until)
    assert desk.lift(kind, name, actor=ANN) == Lifted(kind, name, None)

    assert rows(database) == []
    thing = {"client": "client", "partner": "partner", "all": "tokens"}[kind]
    assert audited(database) == [
        ("ann", "command", "revoke", thing, name or "all"),
        ("bob", "command", "lift", thing, name or "all"),
    ]
    with database.reading() as session:
        (_, entry) = session.execute(select(audit_entries).order_by(audit_entries.c.seq)).all()
    assert entry.before["up_to"].startswith("2027-01-15T08:00:00")
    assert entry.after is None


def test_without_the_database_nothing_is_lifted(desk, open_desk, revocations):
    desk.revoke("client", "shop", actor=ANN)

    with pytest.raises(StoreUnavailable):
        open_desk(None, revocations).lift("client", "shop", actor=BOB)

    assert revocations.is_revoked(claims())


def test_what_was_revoked_while_the_database_was_away_is_lifted_and_stays_so(
    desk, open_desk, revocations, open_revocations, database
):
    open_desk(None, revocations).revoke("client", "shop", actor=ANN)

    assert desk.lift("client", "shop", actor=BOB).until
    desk.agree()

    assert rows(database) == []
    assert not open_revocations().is_revoked(claims())
    assert audited(database) == [("bob", "command", "lift", "client", "shop")]


def test_a_restart_brings_back_nothing_that_was_lifted(desk, open_desk, open_revocations, database):
    desk.revoke("all", "", actor=ANN)
    desk.lift("all", "", actor=ANN)

    started = open_revocations()
    assert open_desk(database, started).agree() == 0

    assert not started.is_revoked(claims())
    assert rows(database) == []


def test_a_database_from_before_does_not_refuse_what_was_lifted_since(
    desk, open_desk, open_revocations, database, clock
):
    desk.revoke("partner", "acme", actor=ANN)
    (row,) = rows(database)
    clock.now += 60
    desk.lift("partner", "acme", actor=BOB)
    with database.transaction() as session:
        session.add(
            tables.Revocation(
                kind=row.kind, value=row.value, cutoff=row.cutoff, revoked_at=row.revoked_at,
                expires_at=row.expires_at, revoked_by="ann",
            )
        )  # fmt: skip

    started = open_revocations()
    open_desk(database, started).agree()

    assert not started.is_revoked(claims())
    assert rows(database) == []
    assert audited(database)[-1] == ("bob", "system", "lift", "partner", "acme")
    open_desk(database, started).agree()
    assert len(audited(database)) == 3


def test_what_is_revoked_again_after_a_lift_stays_so_over_a_restart(
    desk, open_desk, open_revocations, tmp_path, database, clock
):
    desk.revoke("client", "shop", actor=ANN)
    desk.lift("client", "shop", actor=ANN)
    clock.now += 10
    desk.revoke("client", "shop", actor=ANN, before=clock.now - 5)
    (tmp_path / "revocations").unlink()

    started = open_revocations()
    assert open_desk(database, started).agree() == 1

    assert started.cutoff("shop", "acme") == int(clock.now) - 5
