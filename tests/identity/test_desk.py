from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from entrepot.errors import BadRequest, Conflict, InvalidToken, StoreUnavailable
from entrepot.identity.desk import Desk, Revoked
from entrepot.identity.tokens import MAX_LIFETIME_S, Verifier
from entrepot.store import identity as tables
from entrepot.store import schema
from entrepot.store.engine import open_database


class Clock:
    """A clock that moves when someone sleeps."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(now):
    return Clock(now + 0.25)


@pytest.fixture
def database(store_url):
    database = open_database(store_url)
    schema.prepare(database)
    yield database
    database.close()


@pytest.fixture
def open_desk(keyring, revocations, issuer, clock):
    def open_it(database):
        return Desk(keyring, revocations, database, issuer=issuer, audience=issuer, clock=clock, sleep=clock.sleep)

    return open_it


@pytest.fixture
def desk(open_desk, database):
    return open_desk(database)


@pytest.fixture
def works(keyring, open_revocations, issuer, clock):
    """Return a function that says whether a worker that starts now takes the token."""

    def ask(token):
        verifier = Verifier(keyring, open_revocations(), issuer=issuer, audience=issuer)
        try:
            return verifier.claims(token.token.encode(), clock.now).jti == token.jti
        except InvalidToken:
            return False

    return ask


def issued(desk, client, expires_s=600):
    return desk.issue(client, scopes=None, expires_s=expires_s, by="test")


def rows(database, table):
    with database.reading() as session:
        return list(session.scalars(select(table)))


def test_an_issued_token_works_and_stands_in_the_store(desk, client, database, works, clock):
    token = issued(desk, client)

    row = rows(database, tables.Token)[0]
    assert works(token)
    assert (row.jti, row.client, row.partner, row.kid) == (token.jti, "shop", "acme", token.kid)
    assert (row.scopes, row.issued_by) == ("orders:read orders:write", "test")
    assert row.expires_at == datetime.fromtimestamp(int(clock.now) + 600, UTC)


def test_a_token_of_a_scope_too_many_leaves_no_row(desk, client, database):
    with pytest.raises(BadRequest):
        desk.issue(client, scopes=["admin"], expires_s=60, by="test")

    assert rows(database, tables.Token) == []


def test_no_token_is_issued_that_cannot_be_written_down(open_desk, client, database):
    with pytest.raises(StoreUnavailable):
        issued(open_desk(None), client)

    with database.migrating() as connection:
        connection.exec_driver_sql("DROP TABLE tokens")
    with pytest.raises(StoreUnavailable):
        issued(open_desk(database), client)


def test_a_token_is_revoked_by_itself_or_by_its_jti(desk, client, database, works, clock):
    one, two, three = (issued(desk, client) for _ in range(3))

    assert desk.revoke_token(one.token.encode(), by="test") == Revoked("jti", one.jti, new=True, stored=True)
    assert desk.revoke("jti", two.jti, by="test").new

    assert [works(token) for token in (one, two, three)] == [False, False, True]
    expiries = {row.expires_at.timestamp() for row in rows(database, tables.Revocation)}
    assert expiries == {int(clock.now) + 600}


def test_second_revocation_keeps_the_first_date(desk, client, database, clock):
    token = issued(desk, client)
    desk.revoke("jti", token.jti, by="first")
    clock.sleep(60)

    assert not desk.revoke("jti", token.jti, by="second").new

    row = rows(database, tables.Revocation)[0]
    assert (row.revoked_by, row.revoked_at.timestamp()) == ("first", clock.now - 60)


def test_a_jti_that_nobody_knows_is_kept_for_as_long_as_a_token_can_live(desk, database, clock):
    desk.revoke("jti", "unheard-of", by="test")

    assert rows(database, tables.Revocation)[0].expires_at.timestamp() == clock.now + MAX_LIFETIME_S


def test_a_foreign_token_cannot_be_revoked(desk, client):
    token = issued(desk, client).token.encode()

    with pytest.raises(InvalidToken):
        desk.revoke_token(token[:-4] + b"AAAA", by="test")


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "acme")])
def test_a_token_made_right_after_the_revocation_of_its_client_works(desk, client, works, clock, kind, name):
    before = issued(desk, client)
    desk.revoke(kind, name, by="test")
    revoked_at = clock.now

    after = issued(desk, client)

    assert not works(before)
    assert works(after)
    assert clock.now - revoked_at <= 1.0


def test_a_client_revoked_again_in_the_next_second_loses_the_token_in_between(desk, client, works, database):
    desk.revoke("client", "shop", by="first")
    between = issued(desk, client)

    assert desk.revoke("client", "shop", by="second").new

    assert not works(between)
    assert [row.revoked_by for row in rows(database, tables.Revocation)] == ["second"]
    assert works(issued(desk, client))


def test_a_clock_that_went_back_lets_no_token_slip_through(desk, client, works, clock):
    token = issued(desk, client)
    clock.now -= 100

    desk.revoke("client", "shop", by="test")
    with pytest.raises(Conflict, match="clock"):
        issued(desk, client)

    clock.now += 100
    assert not works(token)


def test_the_store_away_leaves_the_file_in_force(open_desk, desk, client, works, database):
    token = issued(desk, client)

    assert open_desk(None).revoke("jti", token.jti, by="test") == Revoked("jti", token.jti, new=True, stored=False)
    assert not works(token)

    assert desk.revoke("jti", token.jti, by="test") == Revoked("jti", token.jti, new=False, stored=True)
    assert len(rows(database, tables.Revocation)) == 1


def test_a_store_that_fails_leaves_the_file_in_force(desk, client, works, database):
    token = issued(desk, client)
    with database.migrating() as connection:
        connection.exec_driver_sql("DROP TABLE revocations")

    assert not desk.revoke("client", "shop", by="test").stored
    assert not works(token)


def test_a_lost_file_is_made_again_from_the_store(
    desk, open_desk, client, works, keyring, issuer, clock, tmp_path, database, open_revocations
):
    tokens = [issued(desk, client) for _ in range(2)]
    desk.revoke("jti", tokens[0].jti, by="test")
    desk.revoke("partner", "other", by="test")
    (tmp_path / "revocations").unlink()
    assert works(tokens[0])

    started = Desk(keyring, open_revocations(), database, issuer=issuer, audience=issuer, clock=clock)
    assert started.restore() == 2

    assert [works(token) for token in tokens] == [False, True]
    assert started.restore() == 0
