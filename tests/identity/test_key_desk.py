from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from entrepot.errors import StoreUnavailable
from entrepot.identity.key_desk import GRACE_S, KeyDesk, note_rotation
from entrepot.identity.keys import Keyring, Rotation
from entrepot.identity.tokens import issue
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, audit_entries

ANN = Actor("ann", "command", "an-operation-id")
DAY_S = 86_400.0


@pytest.fixture
def keyring(tmp_path, master, database, clock):
    rotation = Rotation(90 * DAY_S, lambda former, new: note_rotation(database, former, new))
    return Keyring.open(tmp_path / "keys", master, rotation=rotation, clock=clock)


@pytest.fixture
def desk(keyring, database, clock):
    return KeyDesk(keyring, database, clock=clock)


@pytest.fixture
def give_token(keyring, database, client, issuer, clock):
    """Return a function that issues a token, written down as the portal does."""

    def give(expires_s):
        token = issue(
            keyring, client=client, scopes=(), issuer=issuer, audience=issuer, expires_s=expires_s, now=clock.now
        )
        ends = datetime.fromtimestamp(token.expires_at, UTC)
        with database.transaction() as session:
            session.add(
                tables.Token(
                    jti=token.jti, client="shop", partner="acme", scopes="", issued_at=ends, expires_at=ends,
                    kid=token.kid, issued_by="ann",
                )
            )  # fmt: skip
        return token

    return give


def entries(database):
    with database.reading() as session:
        wanted = select(audit_entries).order_by(audit_entries.c.seq)
        return [(row.actor, row.face, row.action, row.kind, row.name) for row in session.execute(wanted)]


def test_rotation_is_written_down_with_who_did_it(desk, keyring, database):
    old = keyring.current.kid

    new = desk.rotate(actor=ANN)

    assert keyring.current.kid == new != old
    assert entries(database) == [("ann", "command", "rotate", "key", new)]


def test_rotation_by_age_is_written_down_too(desk, keyring, database, clock):
    keyring.current  # noqa: B018 - made
    assert desk.rotate_when_due() is None
    clock.now += 90 * DAY_S

    new = keyring.current.kid

    assert entries(database) == [("rotation", "system", "rotate", "key", new)]
    assert desk.rotate_when_due() is None


def test_no_key_is_rotated_while_it_cannot_be_written_down(keyring):
    kid = keyring.current.kid

    with pytest.raises(StoreUnavailable):
        KeyDesk(keyring, None).rotate(actor=ANN)

    assert list(keyring.keys) == [kid]


@pytest.fixture
def refusing(database):
    """The database, which takes no entry into its audit log any more."""
    with database.migrating() as connection:
        connection.exec_driver_sql("DROP TABLE audit_entries")
    return database


def test_a_key_that_cannot_be_written_down_does_not_sign(desk, keyring, refusing, clock):
    kid = keyring.current.kid

    with pytest.raises(StoreUnavailable):
        desk.rotate(actor=ANN)
    clock.now += 90 * DAY_S
    with pytest.raises(StoreUnavailable):
        keyring.current  # noqa: B018 - would be made

    keyring.refresh()
    assert list(keyring.keys) == [kid]


def test_a_rotation_is_told_before_the_key_signs(keyring, tmp_path):
    keyring.current  # noqa: B018 - made
    seen = []

    def tell(_former, new):
        seen.append((new, new in Keyring.open(tmp_path / "keys").keys))

    new = keyring.rotate(tell)

    assert seen == [(new, False)]
    assert keyring.current.kid == new


def test_a_key_whose_end_cannot_be_written_down_stays(desk, keyring, refusing, clock):
    old = keyring.current.kid
    keyring.rotate()
    clock.now += GRACE_S + 2

    with pytest.raises(StoreUnavailable):
        desk.prune()

    assert keyring.public(old)


def test_a_retired_key_goes_when_its_last_token_has_ended(desk, keyring, database, give_token, clock):
    old = give_token(2 * DAY_S).kid
    new = desk.rotate(actor=ANN)
    assert desk.prune() == []

    clock.now += 2 * DAY_S
    assert desk.prune() == []
    assert keyring.public(old)

    clock.now += GRACE_S + 1
    assert desk.prune() == [old]
    assert list(keyring.keys) == [new]
    assert entries(database)[-1] == ("rotation", "system", "remove", "key", old)


def test_a_retired_key_that_signed_nothing_goes_after_the_grace(desk, keyring, clock):
    old = keyring.current.kid
    desk.rotate(actor=ANN)
    clock.now += GRACE_S - 1
    assert desk.prune() == []

    clock.now += 2

    assert desk.prune() == [old]


def test_a_database_that_forgot_a_token_does_not_end_it(desk, keyring, database, give_token, clock):
    kid = give_token(5 * DAY_S).kid
    desk.rotate(actor=ANN)
    clock.now += GRACE_S + 1
    assert desk.prune() == []
    assert [held.ends_at for held in desk.listed()] == [None, clock.now - GRACE_S - 1 + 5 * DAY_S]
    with database.transaction() as session:
        session.delete(session.scalars(select(tables.Token)).one())

    clock.now += 4 * DAY_S
    assert desk.prune() == []

    assert keyring.public(kid)


def test_a_database_that_is_lost_before_the_rotation_does_not_end_a_token(desk, keyring, database, give_token, clock):
    kid = give_token(5 * DAY_S).kid
    assert desk.prune() == []
    with database.transaction() as session:
        session.delete(session.scalars(select(tables.Token)).one())
    desk.rotate(actor=ANN)

    clock.now += 4 * DAY_S
    assert desk.prune() == []
    assert keyring.public(kid)

    clock.now += DAY_S + GRACE_S + 1
    assert desk.prune() == [kid]


def test_a_database_that_is_away_ends_no_key(desk, keyring, clock):
    desk.rotate(actor=ANN)
    clock.now += 1000 * DAY_S

    with pytest.raises(StoreUnavailable):
        KeyDesk(keyring, None, clock=clock).prune()

    assert len(keyring.keys) == 2


def test_the_list_says_which_key_signs_and_until_when(desk, keyring, give_token, now):
    old = give_token(DAY_S).kid
    new = desk.rotate(actor=ANN)

    held = desk.listed()

    assert [(key.kid, key.state, key.due_at, key.ends_at) for key in held] == [
        (new, "signing", held[0].made_at + 90 * DAY_S, None),
        (old, "verifying", None, now + DAY_S),
    ]
    assert held[1].made_at == now
