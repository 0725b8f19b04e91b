from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from entrepot.errors import BadRequest, CallerDisabled, Conflict, InvalidToken, StoreUnavailable
from entrepot.identity import retention
from entrepot.identity.api_keys import ApiKeys, claims_of
from entrepot.identity.credential import FILE, CredentialFile
from entrepot.identity.credentials import Credentials
from entrepot.identity.desk import Desk, Revoked
from entrepot.identity.disabling import Disabling, Switched
from entrepot.identity.partners import Client
from entrepot.identity.rows import moment
from entrepot.identity.tokens import MAX_LIFETIME_S, Verifier
from entrepot.identity.uses import FILE as USES
from entrepot.identity.uses import Uses
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, audit_entries

ANN = Actor("ann", "command", "0" * 36)
BOB = Actor("bob", "command", "1" * 36)


@pytest.fixture
def clock(clock):
    clock.now += 0.25
    return clock


@pytest.fixture
def credential_file(tmp_path, counter, master):
    file = CredentialFile(tmp_path / FILE, counter, master)
    yield file
    file.close()


@pytest.fixture
def open_desk(keyring, revocations, credential_file, issuer, clock):
    def open_it(database, revocations=revocations):
        return Desk(
            keyring, revocations, credential_file, database,
            issuer=issuer, audience=issuer, clock=clock, sleep=clock.sleep,
        )  # fmt: skip

    return open_it


@pytest.fixture
def desk(open_desk, database):
    return open_desk(database)


@pytest.fixture
def disabling(revocations, database, clock):
    return Disabling(revocations, database, clock=clock)


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


@pytest.fixture
def make_key(tmp_path, counter, master, open_revocations, database, clock):
    """Return a function that makes an API key, in a process of its own."""
    master.make()
    file = CredentialFile(tmp_path / FILE, counter, master)
    desk = Credentials(
        file, Uses(tmp_path / USES), open_revocations(), database, clock=clock, sleep=clock.sleep
    )  # fmt: skip
    yield lambda client: desk.make("api-key", client, actor=ANN)
    desk.close()


@pytest.fixture
def key_works(tmp_path, counter, master, open_revocations, clock):
    """Return a function that says whether a worker that starts now takes the API key of the client."""

    def ask(made, client):
        keys = ApiKeys.open(tmp_path, counter, master)
        found = keys.find(made.text.encode(), clock.now)
        keys.close()
        return not open_revocations().is_revoked(claims_of(found, client))

    return ask


def issued(desk, client, expires_s=600):
    return desk.issue(client, scopes=None, expires_s=expires_s, actor=ANN)


def rows(database, table):
    with database.reading() as session:
        return list(session.scalars(select(table)))


def test_an_issued_token_works_and_stands_in_the_store(desk, client, database, works, clock):
    token = issued(desk, client)

    row = rows(database, tables.Token)[0]
    assert works(token)
    assert (row.jti, row.client, row.partner, row.kid) == (token.jti, "shop", "acme", token.kid)
    assert (row.scopes, row.issued_by) == ("orders:read orders:write", "ann")
    assert row.expires_at == datetime.fromtimestamp(int(clock.now) + 600, UTC)


def test_a_token_of_a_scope_too_many_leaves_no_row(desk, client, database):
    with pytest.raises(BadRequest):
        desk.issue(client, scopes=["admin"], expires_s=60, actor=ANN)

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

    assert desk.revoke_token(one.token.encode(), actor=ANN) == Revoked("jti", one.jti, new=True, stored=True)
    assert desk.revoke("jti", two.jti, actor=ANN).new

    assert [works(token) for token in (one, two, three)] == [False, False, True]
    expiries = {row.expires_at.timestamp() for row in rows(database, tables.Revocation)}
    assert expiries == {int(clock.now) + 600}


def test_second_revocation_keeps_the_first_date(desk, client, database, clock):
    token = issued(desk, client)
    desk.revoke("jti", token.jti, actor=ANN)
    clock.sleep(60)

    assert not desk.revoke("jti", token.jti, actor=BOB).new

    row = rows(database, tables.Revocation)[0]
    assert (row.revoked_by, row.revoked_at.timestamp()) == ("ann", clock.now - 60)


def test_a_jti_that_nobody_knows_is_kept_for_as_long_as_a_token_can_live(desk, database, clock):
    desk.revoke("jti", "unheard-of", actor=ANN)

    assert rows(database, tables.Revocation)[0].expires_at.timestamp() == clock.now + MAX_LIFETIME_S


def test_a_foreign_token_cannot_be_revoked(desk, client):
    token = issued(desk, client).token

    with pytest.raises(InvalidToken):
        desk.revoke_token(f"{token.rpartition('.')[0]}.{'A' * 86}".encode(), actor=ANN)


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "acme")])
def test_a_token_made_right_after_the_revocation_of_its_client_works(desk, client, works, clock, kind, name):
    before = issued(desk, client)
    desk.revoke(kind, name, actor=ANN)
    revoked_at = clock.now

    after = issued(desk, client)

    assert not works(before)
    assert works(after)
    assert clock.now - revoked_at <= 1.0


def test_a_client_revoked_again_in_the_next_second_loses_the_token_in_between(desk, client, works, database):
    desk.revoke("client", "shop", actor=ANN)
    between = issued(desk, client)

    assert desk.revoke("client", "shop", actor=BOB).new

    assert not works(between)
    assert [row.revoked_by for row in rows(database, tables.Revocation)] == ["bob"]
    assert works(issued(desk, client))


def test_a_clock_that_went_back_lets_no_token_slip_through(desk, client, works, clock):
    token = issued(desk, client)
    clock.now -= 100

    desk.revoke("client", "shop", actor=ANN)
    with pytest.raises(Conflict, match="clock"):
        issued(desk, client)

    clock.now += 100
    assert not works(token)


KEY_CLIENT = Client("shop", "acme", frozenset({"orders:read"}), api_keys=True)
OTHER_CLIENT = Client("till", "other", frozenset({"orders:read"}), api_keys=True)
CALLERS = pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "acme"), ("all", "")])


@CALLERS
@pytest.mark.parametrize("is_away", [False, True])
def test_a_clock_that_went_back_lets_no_api_key_slip_through(
    open_desk, database, make_key, key_works, clock, kind, name, is_away
):
    key = make_key(KEY_CLIENT)
    clock.now -= 100

    assert open_desk(None if is_away else database).revoke(kind, name, actor=ANN).new

    assert not key_works(key, KEY_CLIENT)


def test_an_api_key_of_others_does_not_move_the_time_up_to_which_a_client_is_revoked(
    desk, database, make_key, key_works, clock
):
    key = make_key(OTHER_CLIENT)
    clock.now -= 100

    desk.revoke("client", "shop", actor=ANN)

    assert rows(database, tables.Revocation)[0].cutoff.timestamp() == int(clock.now)
    assert key_works(key, OTHER_CLIENT)


def test_a_revocation_is_in_force_though_the_api_keys_cannot_be_read(desk, client, works, tmp_path):
    token = issued(desk, client)
    (tmp_path / FILE).mkdir()

    assert desk.revoke("client", "shop", actor=ANN).new

    assert not works(token)


@CALLERS
def test_an_api_key_made_right_after_a_revocation_works_until_the_next_one(
    desk, make_key, key_works, clock, kind, name
):
    for _ in range(3):
        revoked_at = clock.now
        assert desk.revoke(kind, name, actor=ANN).new
        key = make_key(KEY_CLIENT)
        assert key_works(key, KEY_CLIENT)
        assert clock.now - revoked_at <= 1.0

    assert desk.revoke(kind, name, actor=ANN).new

    assert not key_works(key, KEY_CLIENT)


def test_an_api_key_is_not_dated_ahead(desk, make_key, database, clock):
    desk.revoke("client", "shop", actor=ANN)

    make_key(KEY_CLIENT)

    assert rows(database, tables.Credential)[0].made_at.timestamp() <= clock.now


def test_the_store_away_leaves_the_file_in_force(open_desk, desk, client, works, database):
    token = issued(desk, client)

    assert open_desk(None).revoke("jti", token.jti, actor=ANN) == Revoked("jti", token.jti, new=True, stored=False)
    assert not works(token)

    assert desk.revoke("jti", token.jti, actor=ANN) == Revoked("jti", token.jti, new=False, stored=True)
    assert len(rows(database, tables.Revocation)) == 1


def test_a_store_that_fails_leaves_the_file_in_force(desk, client, works, database):
    token = issued(desk, client)
    with database.migrating() as connection:
        connection.exec_driver_sql("DROP TABLE revocations")

    assert not desk.revoke("client", "shop", actor=ANN).stored
    assert not works(token)


def test_a_lost_file_is_made_again_from_the_store(desk, open_desk, client, works, tmp_path, database, open_revocations):
    tokens = [issued(desk, client) for _ in range(2)]
    desk.revoke("jti", tokens[0].jti, actor=ANN)
    desk.revoke("partner", "other", actor=ANN)
    (tmp_path / "revocations").unlink()
    assert works(tokens[0])

    started = open_desk(database, open_revocations())
    assert started.agree() == 2

    assert [works(token) for token in tokens] == [False, True]
    assert started.agree() == 0


def test_all_that_was_issued_before_a_time_is_revoked_and_nothing_later(desk, client, works, clock):
    old = issued(desk, client, expires_s=7200)
    clock.sleep(3600)
    young = issued(desk, client)

    assert desk.revoke("all", "", actor=ANN, before=clock.now - 60).new

    assert (works(old), works(young)) == (False, True)
    assert works(issued(desk, client))
    assert not desk.revoke("all", "", actor=ANN, before=clock.now - 600).new


@pytest.mark.parametrize("ahead_s", [1, 3600])
def test_what_will_be_issued_cannot_be_revoked(desk, clock, ahead_s):
    with pytest.raises(BadRequest, match="later"):
        desk.revoke("client", "shop", actor=ANN, before=clock.now + ahead_s)


def test_an_earlier_time_does_not_change_what_the_store_says(desk, client, database, clock):
    issued(desk, client)
    desk.revoke("client", "shop", actor=ANN)
    cutoff = rows(database, tables.Revocation)[0].cutoff

    desk.revoke("client", "shop", actor=BOB, before=clock.now - 60)

    row = rows(database, tables.Revocation)[0]
    assert (row.cutoff, row.revoked_by) == (cutoff, "ann")


def audited(database):
    with database.reading() as session:
        found = session.execute(select(audit_entries).order_by(audit_entries.c.seq))
        return [(row.actor, row.action, row.kind, row.name) for row in found]


def test_each_change_stands_in_the_audit_log_once_and_without_the_token(desk, client, database):
    token = issued(desk, client)
    for _ in range(2):
        desk.revoke_token(token.token.encode(), actor=BOB)
    desk.revoke("partner", "acme", actor=ANN)
    desk.revoke("all", "", actor=ANN)

    assert audited(database) == [
        ("ann", "issue", "token", token.jti),
        ("bob", "revoke", "token", token.jti),
        ("ann", "revoke", "partner", "acme"),
        ("ann", "revoke", "tokens", "all"),
    ]
    with database.reading() as session:
        assert token.token not in repr(session.execute(select(audit_entries)).all())


def test_a_disabled_client_gets_no_token(desk, client, disabling):
    for kind, name in (("client", "shop"), ("partner", "acme")):
        disabling.disable(kind, name, actor=ANN)
        with pytest.raises(CallerDisabled, match=f"the {kind} '{name}' is disabled"):
            issued(desk, client)
        disabling.enable(kind, name, actor=ANN)

    assert issued(desk, client)


def test_disabling_is_told_once_and_is_in_force_at_once(desk, client, disabling, works, database):
    token = issued(desk, client)

    assert disabling.disable("client", "shop", actor=ANN) == Switched(new=True, stored=True)
    assert disabling.disable("client", "shop", actor=BOB) == Switched(new=False, stored=True)

    assert not works(token)
    assert [row.disabled_by for row in rows(database, tables.DisabledCaller)] == ["ann"]
    assert audited(database)[1:] == [("ann", "disable", "client", "shop")]

    assert disabling.enable("client", "shop", actor=BOB) == Switched(new=True, stored=True)
    assert disabling.enable("client", "shop", actor=ANN) == Switched(new=False, stored=True)

    assert works(token)
    assert rows(database, tables.DisabledCaller) == []
    assert audited(database)[2:] == [("bob", "enable", "client", "shop")]


def test_without_the_database_a_client_is_shut_out_and_not_let_in(revocations, client, works, desk, clock):
    token = issued(desk, client)
    alone = Disabling(revocations, None, clock=clock)

    assert alone.disable("client", "shop", actor=ANN) == Switched(new=True, stored=False)
    with pytest.raises(StoreUnavailable):
        alone.enable("client", "shop", actor=ANN)

    assert not works(token)


def test_what_was_done_while_the_database_was_away_is_written_down_later(
    desk, open_desk, revocations, client, database, clock
):
    token = issued(desk, client)
    away = open_desk(None)
    away.revoke("jti", token.jti, actor=ANN)
    away.revoke("partner", "acme", actor=ANN)
    Disabling(revocations, None, clock=clock).disable("client", "shop", actor=BOB)
    clock.sleep(60)

    desk.agree()
    desk.agree()

    assert audited(database)[1:] == [
        ("ann", "revoke", "token", token.jti),
        ("ann", "revoke", "partner", "acme"),
        ("bob", "disable", "client", "shop"),
    ]
    assert {row.revoked_at.timestamp() for row in rows(database, tables.Revocation)} == {clock.now - 60}


def test_a_disabled_client_stays_out_when_the_file_is_lost(disabling, open_desk, tmp_path, database, open_revocations):
    disabling.disable("client", "shop", actor=ANN)
    (tmp_path / "revocations").unlink()
    revocations = open_revocations()
    assert revocations.disabled("shop", "acme") is None

    open_desk(database, revocations).agree()

    assert revocations.disabled("shop", "acme") == "client"


def test_a_database_from_before_does_not_shut_out_who_was_enabled_since(desk, disabling, revocations, database, clock):
    disabling.disable("client", "shop", actor=ANN)
    row = rows(database, tables.DisabledCaller)[0]
    clock.sleep(60)
    disabling.enable("client", "shop", actor=ANN)
    with database.transaction() as session:
        session.add(tables.DisabledCaller(kind="client", name="shop", disabled_at=row.disabled_at, disabled_by="ann"))

    desk.agree()

    assert revocations.disabled("shop", "acme") is None
    assert rows(database, tables.DisabledCaller) == []
    clock.sleep(2 * 86_400)
    revocations.compact(clock.now, is_whole=True)
    desk.agree()
    assert revocations.disabled("shop", "acme") is None


@pytest.mark.parametrize("later_s", [0, 60])
def test_who_was_enabled_again_is_not_written_down_as_disabled(
    open_desk, open_revocations, disabling, database, clock, later_s
):
    disabling.disable("client", "shop", actor=ANN)
    clock.sleep(later_s)
    disabling.enable("client", "shop", actor=BOB)
    told = audited(database)
    revocations = open_revocations()
    desk = open_desk(database, revocations)

    desk.agree()

    assert rows(database, tables.DisabledCaller) == []
    assert audited(database) == told
    clock.sleep(2 * 86_400)
    revocations.compact(clock.now, is_whole=True)
    desk.agree()
    assert revocations.disabled("shop", "acme") is None


def test_who_was_enabled_and_disabled_again_stays_out(open_desk, open_revocations, disabling, database, clock):
    for change in (disabling.disable, disabling.enable, disabling.disable):
        change("client", "shop", actor=ANN)
        clock.sleep(60)
    told = audited(database)
    revocations = open_revocations()

    open_desk(database, revocations).agree()

    assert revocations.disabled("shop", "acme") == "client"
    assert len(rows(database, tables.DisabledCaller)) == 1
    assert audited(database) == told


def test_after_a_loss_gathered_tokens_come_back_and_otherwise_only_the_latest_are_looked_at(
    desk, open_desk, clock, tmp_path, database, open_revocations, revocations
):
    with database.transaction() as session:
        for number in range(50):
            session.add(
                tables.Revocation(
                    kind="jti", value=f"t-{number}", revoked_at=moment(clock.now - 3 * 86_400),
                    expires_at=moment(clock.now + 3 * 86_400), revoked_by="ann",
                )
            )  # fmt: skip
    assert desk.agree() == 50
    revocations.compact(clock.now, is_whole=True)
    assert desk.agree() == 0

    for name in ("revocations", "revocations.ids"):
        (tmp_path / name).unlink(missing_ok=True)
    again = open_revocations()

    assert open_desk(database, again).agree() == 50


def test_tokens_and_revocations_that_are_long_over_are_forgotten_in_steps(desk, client, database, clock):
    for expires_s in (60, 120, 40 * 86_400):
        desk.revoke("jti", issued(desk, client, expires_s=expires_s).jti, actor=ANN)
    later = clock.now + retention.KEPT_S + 3600

    with database.writing() as connection:
        counts = [retention.prune(connection, later, 3) for _ in range(3)]

    assert counts == [3, 1, 0]
    assert (len(rows(database, tables.Token)), len(rows(database, tables.Revocation))) == (1, 1)
