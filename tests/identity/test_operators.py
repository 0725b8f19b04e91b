"""Accounts of operators, and their sessions."""

import time
from functools import partial
from threading import Thread

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from entrepot.chassis.shared import SharedState
from entrepot.errors import BadRequest, Conflict, NotFound, SignInFailed, TooManyRequests
from entrepot.identity import passwords as passwords_module
from entrepot.identity.operators import MOST_OF_NAME, MOST_OF_NETWORK, Operators, SignIns
from entrepot.identity.passwords import Passwords
from entrepot.identity.roles import may
from entrepot.identity.sessions import MOST, Sessions, csrf_token
from entrepot.store import identity as tables
from entrepot.store.audit import Actor, Wanted, entries

ROOT = Actor("root (command line)", "command", "an-operation-id")
PASSWORD = "correct horse battery"
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
IN_EARNEST = pytest.mark.parametrize("passwords", [None], indirect=True, ids=["in earnest"])


@pytest.fixture
def passwords(request):
    """Passwords that cost next to nothing, or, for a test that is IN_EARNEST, what they always do."""
    return Passwords(getattr(request, "param", CHEAP))


@pytest.fixture
def shared(tmp_path):
    return SharedState.open(tmp_path / "shared")


@pytest.fixture
def operators(database, passwords, shared, clock):
    return Operators(database, passwords, SignIns(shared, clock=clock), clock=clock)


@pytest.fixture
def sessions(database, clock):
    return Sessions(database, idle_s=1800.0, longest_s=43_200.0, clock=clock)


@pytest.fixture
def ada(operators):
    return operators.add("ada", "editor", PASSWORD, actor=ROOT)


@pytest.fixture
def signed_in(ada, operators, sessions):
    """Return a function that signs ada in and gives her session."""

    def sign_in(source=HERE, former=""):
        operator = operators.check("ada", PASSWORD, source)
        actor = Actor("ada", "console", "an-operation-id", source)
        return sessions.begin(operator, actor=actor, former=former).text

    return sign_in


@pytest.fixture
def audited(database):
    def audited(**wanted):
        with database.reading() as session:
            return [(entry.actor.name, entry.change) for entry in entries(session, Wanted(**wanted), 100)]

    return audited


# -- accounts


def test_the_password_of_an_account_signs_in_and_another_does_not(ada, operators):
    assert operators.check("ada", PASSWORD, HERE) == ada
    with pytest.raises(SignInFailed):
        operators.check("ada\0", PASSWORD, HERE)
    for wrong in ("correct horse batterY", "", PASSWORD + "\0", PASSWORD[:-1]):
        with pytest.raises(SignInFailed):
            operators.check("ada", wrong, HERE)


@IN_EARNEST
def test_the_database_holds_argon2id_and_nothing_else_of_a_password(ada, database):
    with database.reading() as session:
        kept = session.scalar(select(tables.Operator.password))

    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PASSWORD not in kept


def test_an_accent_is_the_same_however_a_keyboard_writes_it(operators):
    operators.add("eve", "viewer", "mot de passé élevé", actor=ROOT)

    assert operators.check("eve", "mot de passe\u0301 e\u0301leve\u0301", HERE).name == "eve"


@pytest.mark.parametrize("password", ["short", "x" * 257, "\udcff" * 12])
def test_what_cannot_be_a_password_is_refused(operators, password):
    with pytest.raises(BadRequest):
        operators.add("eve", "viewer", password, actor=ROOT)


@pytest.mark.parametrize("name", ["", "Ada", "a b", "a" * 81, "-a", "ada\n", "a/b"])
def test_what_cannot_be_a_name_is_refused(operators, name):
    with pytest.raises(BadRequest):
        operators.add(name, "viewer", PASSWORD, actor=ROOT)


def test_a_name_is_given_once(ada, operators):
    with pytest.raises(Conflict):
        operators.add("ada", "admin", PASSWORD, actor=ROOT)


def test_who_does_not_exist_is_not_found(operators):
    for change in (operators.disable, operators.enable):
        with pytest.raises(NotFound):
            change("nobody", actor=ROOT)


def test_a_disabled_account_cannot_sign_in_until_it_is_enabled(ada, operators):
    operators.disable("ada", actor=ROOT)
    with pytest.raises(SignInFailed):
        operators.check("ada", PASSWORD, HERE)

    operators.enable("ada", actor=ROOT)

    assert operators.check("ada", PASSWORD, HERE).disabled_at is None


def test_each_role_may_what_those_before_it_may():
    assert [
        [may(role, least) for least in ("viewer", "editor", "admin")] for role in ("viewer", "editor", "admin")
    ] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


@pytest.mark.parametrize("change", ["role", "disable"])
def test_nobody_locks_themselves_out_at_the_console(ada, operators, change):
    oneself = Actor("ada", "console", "an-operation-id", HERE)
    changes = {"role": partial(operators.change_role, "ada", "viewer"), "disable": partial(operators.disable, "ada")}

    with pytest.raises(Conflict):
        changes[change](actor=oneself)


def test_every_change_of_an_account_is_audited_and_no_password_with_it(ada, operators, audited):
    operators.change_role("ada", "admin", actor=ROOT)
    operators.change_role("ada", "admin", actor=ROOT)
    operators.set_password("ada", "another good password", actor=ROOT)
    operators.disable("ada", actor=ROOT)
    operators.disable("ada", actor=ROOT)

    found = audited(kind="operator")[::-1]

    assert [(actor, change.action, change.name) for actor, change in found] == [
        (ROOT.name, action, "ada") for action in ("add", "role", "password", "disable")
    ]
    assert (found[1][1].before["role"], found[1][1].after["role"]) == ("editor", "admin")
    assert found[3][1].before["disabled_at"] is None
    assert found[3][1].after["disabled_at"] is not None
    assert "argon2" not in repr(found)
    assert "password'" not in repr(found).replace("action='password'", "")


# -- guessing


def test_many_wrong_passwords_are_refused_from_there_and_the_right_one_is_let_in_from_elsewhere(ada, operators, clock):
    for _ in range(MOST_OF_NAME):
        with pytest.raises(SignInFailed):
            operators.check("ada", "a wrong password", HERE)

    with pytest.raises(TooManyRequests) as refused:
        operators.check("ada", PASSWORD, HERE)
    assert refused.value.retry_after_s > 0
    assert operators.check("ada", PASSWORD, ELSEWHERE).name == "ada"

    clock.now += 60
    assert operators.check("ada", PASSWORD, HERE).name == "ada"


def test_a_good_sign_in_begins_the_count_anew(ada, operators):
    for _ in range(2):
        for _ in range(MOST_OF_NAME - 1):
            with pytest.raises(SignInFailed):
                operators.check("ada", "a wrong password", HERE)
        operators.check("ada", PASSWORD, HERE)


def test_one_network_cannot_try_one_password_on_many_names(shared, now):
    sign_ins = SignIns(shared, clock=lambda: now)
    for number in range(MOST_OF_NETWORK):
        sign_ins.begin(f"name-{number}", HERE)

    with pytest.raises(TooManyRequests):
        sign_ins.begin("one-more", HERE)
    sign_ins.begin("one-more", ELSEWHERE)


@IN_EARNEST
def test_a_name_that_does_not_exist_takes_as_long_as_a_wrong_password(ada, operators, passwords):
    def took(name):
        begin = time.perf_counter()
        with pytest.raises(SignInFailed):
            operators.check(name, "a wrong password", HERE)
        return time.perf_counter() - begin

    # In turns, so that what else runs here meets both alike.
    known, unknown = map(min, zip(*((took("ada"), took("nobody")) for _ in range(4)), strict=True))

    assert 0.4 < unknown / known < 2.5
    assert not passwords.is_outdated(passwords._nobodys)


@IN_EARNEST
def test_only_a_few_passwords_are_looked_at_at_once(monkeypatch, passwords):
    monkeypatch.setattr(passwords_module, "PATIENCE_S", 0.05)
    few = Passwords()
    with few._place(), few._place(), pytest.raises(TooManyRequests):
        few.is_right(None, PASSWORD)

    assert not few.is_right(None, PASSWORD)


@IN_EARNEST
def test_a_password_kept_with_older_costs_is_kept_anew_at_the_next_sign_in(ada, operators, database, passwords):
    with database.transaction() as session:
        session.scalar(select(tables.Operator)).password = PasswordHasher(1, 1024, 1).hash(PASSWORD)

    operators.check("ada", PASSWORD, HERE)

    with database.reading() as session:
        kept = session.scalar(select(tables.Operator.password))
    assert not passwords.is_outdated(kept)
    assert operators.check("ada", PASSWORD, HERE).name == "ada"


# -- sessions


def test_a_session_says_who_is_signed_in(signed_in, sessions, ada, operators, clock):
    found = sessions.find(signed_in())

    assert (found.operator.name, found.operator.role, found.ends_at) == ("ada", "editor", clock.now + 43_200)
    assert operators.one("ada").seen_at == clock.now


@pytest.mark.parametrize("text", ["", "eos_", "eos_" + "A" * 43, "é" * 47, "eos_' OR 1=1 --" + "A" * 32])
def test_what_is_no_session_signs_nobody_in(signed_in, sessions, text):
    signed_in()

    assert sessions.find(text) is None


def test_the_database_holds_a_digest_and_not_the_session(signed_in, database):
    text = signed_in()

    with database.reading() as session:
        (row,) = session.scalars(select(tables.OperatorSession))
        assert text not in repr(vars(row))
        assert (len(row.digest), row.source) == (64, HERE)


def test_a_session_that_is_not_used_ends(signed_in, sessions, clock):
    text = signed_in()
    for _ in range(3):
        clock.now += 1700
        assert sessions.find(text) is not None

    clock.now += 1800

    assert sessions.find(text) is None


def test_a_session_that_is_used_goes_on_when_it_would_end_soon(signed_in, database, clock):
    sessions = Sessions(database, idle_s=120.0, longest_s=43_200.0, clock=clock)
    text = signed_in()

    for quiet_s in (59, 110, 5, 110):
        clock.now += quiet_s
        assert sessions.find(text) is not None


def test_a_session_ends_at_last_however_much_it_is_used(signed_in, sessions, clock):
    text = signed_in()
    for _ in range(28):
        clock.now += 1500
        assert sessions.find(text) is not None

    clock.now += 1500

    assert sessions.find(text) is None


@pytest.mark.parametrize("change", ["role", "password", "disable", "sign out"])
def test_a_session_ends_with(signed_in, sessions, operators, change):
    text, other = signed_in(), signed_in()

    if change == "role":
        operators.change_role("ada", "admin", actor=ROOT)
    elif change == "password":
        operators.change_password("ada", PASSWORD, "another good password", actor=ROOT)
    elif change == "disable":
        operators.disable("ada", actor=ROOT)
        operators.enable("ada", actor=ROOT)
    else:
        assert sessions.end(text, actor=ROOT)
        assert not sessions.end(text, actor=ROOT)

    assert sessions.find(text) is None
    assert (sessions.find(other) is None) == (change != "sign out")


def test_signing_in_ends_the_session_that_was_shown(signed_in, sessions):
    former = signed_in()

    text = signed_in(former=former)

    assert text != former
    assert sessions.find(former) is None
    assert sessions.find(text) is not None


def test_no_session_begins_when_the_password_was_changed_meanwhile(ada, operators, sessions, clock):
    operator = operators.check("ada", PASSWORD, HERE)
    clock.now += 1
    operators.set_password("ada", "another good password", actor=ROOT)

    with pytest.raises(SignInFailed):
        sessions.begin(operator, actor=ROOT)


def test_own_password_is_changed_only_by_who_knows_the_present_one(ada, operators):
    with pytest.raises(SignInFailed):
        operators.change_password("ada", "a wrong password", "another good password", actor=ROOT)

    assert operators.check("ada", PASSWORD, HERE).name == "ada"


def test_the_oldest_of_too_many_sessions_ends(signed_in, sessions, ada, clock):
    first = signed_in()
    actor = Actor("ada", "console", "an-operation-id", HERE)
    more = []
    for _ in range(MOST):
        clock.now += 1
        more.append(sessions.begin(ada, actor=actor).text)

    assert sessions.find(first) is None
    assert all(sessions.find(text) for text in more)


def test_sessions_that_were_not_used_for_too_long_end_no_other(signed_in, sessions, ada, clock):
    used = signed_in()
    actor = Actor("ada", "console", "an-operation-id", HERE)

    for _ in range(MOST):
        for _ in range(2):
            clock.now += 1000
            assert sessions.find(used)
        sessions.begin(ada, actor=actor)

    assert sessions.find(used)


def test_sessions_that_have_ended_leave_no_row(signed_in, sessions, database, clock):
    signed_in()
    clock.now += 43_200

    signed_in()

    with database.reading() as session:
        assert len(session.scalars(select(tables.OperatorSession)).all()) == 1


def test_signing_in_and_out_is_audited(signed_in, sessions, audited):
    actor = Actor("ada", "console", "an-operation-id", HERE)

    sessions.end(signed_in(), actor=actor)

    assert [(name, change.action) for name, change in audited(kind="session")] == [
        ("ada", "sign out"),
        ("ada", "sign in"),
    ]


def test_the_csrf_token_is_of_one_session(signed_in):
    one, other = signed_in(), signed_in()

    assert csrf_token(one) == csrf_token(one) != csrf_token(other)
    assert one[4:] not in csrf_token(one)


def test_sessions_can_be_shown_by_many_threads_at_once(signed_in, sessions, clock):
    text, found = signed_in(), []
    clock.now += 61
    threads = [Thread(target=lambda: found.append(sessions.find(text))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [each.operator.name for each in found] == ["ada"] * 8
