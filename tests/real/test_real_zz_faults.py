"""Odoo really failing: stopped, killed, without its database, slow, refusing the account. The gateway is not restarted.

These stop and kill the Odoo in ODOO_HOME and start it again. They come last, because where there is only one Odoo the
others need it too.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from problems import LEAKS
from real_machine import connections, why_not
from real_odoo import Odoo
from running import START_S, eventually

from timing import least_s

pytestmark = [pytest.mark.odoo, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

# Long enough for what a test does to Odoo before a call is given up.
TIMEOUT_S = 6.0
OPEN_S = 2.0
PLACES = 4
UPSTREAM = {
    "timeout": f"{TIMEOUT_S:g}s", "connect_timeout": "1s", "concurrency": PLACES, "wait": "500ms",
    "breaker": {"failures": 3, "open": "2s"}, "probe": {"every": "1h"},
}  # fmt: skip


@pytest.fixture(scope="module")
def company(company):
    company.contact("Ann", email="ann@example.com")
    return company


@pytest.fixture(scope="module")
def brittle(make_gateway, erp, company):
    """A gateway with little patience."""
    return make_gateway(erp, {"ours": {"company": company.id, "mark": company.mark}}, **UPSTREAM)


@pytest.fixture(autouse=True)
def well(machine, brittle):
    """Begin with an Odoo that answers and a breaker that is closed."""
    machine.up()
    assert eventually(lambda: brittle.call("GET", "/v1/contacts", token="ours").status == 200, START_S, 0.1)


def timed(work):
    """Return what *work* returns and how many seconds it took."""
    before = time.monotonic()
    return work(), time.monotonic() - before


def ask(gateway, target="/v1/contacts", token="ours"):
    return timed(lambda: gateway.call("GET", target, token=token, timeout_s=30))


def is_away(answer):
    """Assert that *answer* says when to come back, and nothing of what is inside."""
    assert (answer.status, answer.json()["code"]) == (503, "upstream-unavailable"), answer.body
    assert 1 <= int(answer.header("retry-after")) <= 10
    assert LEAKS.search(answer.body) is None
    return True


def breaker_of(gateway):
    return gateway.call("GET", "/status").json()["upstreams"]["erp"]["breaker"]


@pytest.mark.parametrize("how", ["--odoo", "--hard", "--db"])
def test_odoo_that_is_gone_is_covered_by_the_cache_and_comes_back_by_itself(machine, brittle, company, how):
    kept = "/v1/kept-contacts?limit=10"
    fresh, _ = ask(brittle, kept)
    assert fresh.status == 200
    time.sleep(0.4)
    machine.down(how)

    # What was kept is served stale and says so; what was not is refused, and says when to come back.
    times_s = []
    for _ in range(6):
        stale, took_s = ask(brittle, kept)
        assert (stale.status, stale.data) == (200, fresh.data)
        assert "fwd=stale" in stale.header("cache-status")
        assert int(stale.header("age")) >= 0
        refused, refused_s = ask(brittle)
        assert is_away(refused)
        times_s += [took_s, refused_s]
    body = {"name": "not made"}
    write, took_s = timed(lambda: brittle.call_json("POST", "/v1/contacts", body, token="ours"))
    assert is_away(write)

    # A busy machine may keep one of them from the processor.
    assert sorted([*times_s, took_s])[-2] < 1.0
    assert least_s(lambda: ask(brittle)[1], 0.2) < 0.2

    machine.up()
    assert eventually(lambda: ask(brittle)[0].status == 200, OPEN_S + 2.0, 0.05)
    assert [ask(brittle)[0].status for _ in range(12)] == [200] * 12
    assert breaker_of(brittle) == "closed"
    again, _ = ask(brittle, kept)
    assert "stale" not in (again.header("cache-status") or "")
    made = brittle.call_json("POST", "/v1/contacts", {"name": "made"}, token="ours")
    assert made.status == 201, made.body
    assert company.odoo.search("res.partner", ["name", "=", "not made"]) == []


def test_odoo_that_is_killed_opens_the_breaker_which_closes_by_itself(machine, brittle):
    machine.down("--hard")

    assert is_away(ask(brittle)[0])
    assert {ask(brittle)[0].status for _ in range(4)} == {503}
    assert breaker_of(brittle) == "open"
    # While it is open nothing goes to Odoo, and Retry-After is the time that is left.
    answer, _ = ask(brittle)
    assert least_s(lambda: ask(brittle)[1], 0.1) < 0.1
    assert int(answer.header("retry-after")) <= OPEN_S + 1
    machine.up()
    assert eventually(lambda: breaker_of(brittle) != "open", OPEN_S + 0.5)
    assert {ask(brittle)[0].status for _ in range(8)} == {200}
    assert breaker_of(brittle) == "closed"


def test_write_that_is_killed_in_odoo_is_refused_and_not_repeated(machine, brittle, company):
    contact = company.contact("Bob")

    with ThreadPoolExecutor(1) as pool, machine.locked("res_partner", contact):
        write = pool.submit(
            brittle.call_json, "PATCH", f"/v1/contacts/{contact}", {"job": "written"}, token="ours", timeout_s=30
        )
        assert eventually(lambda: machine.waiting() == 1, TIMEOUT_S)
        machine.down("--hard")
        answer = write.result()

    assert is_away(answer)
    machine.up()
    assert company.odoo.read("res.partner", contact, "function")["function"] is False


def test_slow_call_times_out_and_others_go_on(machine, brittle, company):
    contact = company.contact("Carl")
    place = f"/v1/contacts/{contact}"

    with ThreadPoolExecutor(1) as pool, machine.locked("res_partner", contact):
        slow = pool.submit(timed, lambda: brittle.call_json("PATCH", place, {"job": "x"}, token="ours", timeout_s=30))
        assert eventually(lambda: machine.waiting() == 1, TIMEOUT_S)
        others = [ask(brittle) for _ in range(20)]
        was_waiting = not slow.done()
        answer, took_s = slow.result()

    assert (answer.status, answer.json()["code"]) == (504, "upstream-timeout"), answer.body
    # The clock that a call's time is counted from is up to a sweep old, and older on a busy machine.
    assert TIMEOUT_S - 0.5 < took_s < TIMEOUT_S + 1.0
    assert {other.status for other, _ in others} == {200}
    assert was_waiting
    # A busy machine may keep one of them from the processor.
    assert sorted(took_s for _, took_s in others)[-2] < 1.0


def test_odoo_never_sees_more_calls_than_it_has_places(machine, brittle, company):
    contact = company.contact("Dora")
    port = urlsplit(machine.url).port

    def write(number):
        return brittle.call_json("PATCH", f"/v1/contacts/{contact}", {"job": str(number)}, token="ours", timeout_s=30)

    with ThreadPoolExecutor(20) as pool:
        with machine.locked("res_partner", contact):
            writes = [pool.submit(write, number) for number in range(20)]
            assert eventually(lambda: machine.waiting() == PLACES, TIMEOUT_S)
            workers = brittle.workers()
            seen = {connections(port, workers) for _ in range(20)}
            waiting = machine.waiting()
        answers = [write.result() for write in writes]

    assert max(seen) == PLACES
    assert waiting == PLACES
    assert {answer.status for answer in answers} <= {200, 503, 504}
    busy = [answer for answer in answers if answer.status == 503]
    assert {answer.json()["code"] for answer in busy} <= {"upstream-busy"}
    assert all(answer.header("retry-after") for answer in busy)
    assert 200 in {answer.status for answer in answers}


@pytest.fixture
def account(machine, erp):
    """An account of its own at Odoo, whose password can be changed."""
    login = f"gateway-{uuid4().hex}"
    [admin] = erp.call("res.users", "search_read", [["login", "=", erp.login]], ["groups_id"])
    values = {"name": login, "login": login, "password": "first", "groups_id": [[6, 0, admin["groups_id"]]]}
    number = erp.call("res.users", "create", values)
    yield number, Odoo(erp.url, database=erp.database, login=login, password="first")
    # Odoo forgets refused logins, and with them whom it has locked out, when it starts anew.
    machine.down("--odoo")
    machine.up()
    erp.remove("res.users", ["id", "=", number])
    erp.remove("res.partner", ["name", "=", login])


def test_wrong_password_is_the_gateways_fault_and_when_mended_needs_no_restart(make_gateway, erp, company, account):
    number, login = account
    gateway = make_gateway(login, {"ours": {"company": company.id, "mark": company.mark}}, **UPSTREAM)
    erp.call("res.users", "write", [number], {"password": "second"})

    for answer in [ask(gateway)[0] for _ in range(6)]:
        assert (answer.status, answer.json()["code"]) == (502, "upstream-misconfigured"), answer.body
        assert LEAKS.search(answer.body) is None
        assert login.login.encode() not in answer.body
    assert breaker_of(gateway) == "closed"
    gateway.secret.write_text("second", encoding="utf-8")

    # A refused login is not tried again at once, by neither of the workers.
    assert eventually(lambda: [ask(gateway)[0].status for _ in range(6)] == [200] * 6, 15.0, 0.5)


def test_password_that_is_changed_in_use_locks_nobody_out(make_gateway, erp, company, account):
    number, login = account
    gateway = make_gateway(login, {"ours": {"company": company.id, "mark": company.mark}}, **UPSTREAM)
    assert {ask(gateway)[0].status for _ in range(8)} == {200}
    erp.call("res.users", "write", [number], {"password": "second"})

    assert {ask(gateway)[0].status for _ in range(20)} == {502}

    other = Odoo(erp.url, database=erp.database, login=login.login, password="second")
    assert other.call("res.partner", "search_count", [["id", "=", company.id]]) == 1
    gateway.secret.write_text("second", encoding="utf-8")
    assert eventually(lambda: [ask(gateway)[0].status for _ in range(6)] == [200] * 6, 15.0, 0.5)


def test_database_that_is_gone_opens_the_breaker(machine, brittle):
    machine.down("--db")

    assert {ask(brittle)[0].status for _ in range(6)} == {503}

    assert breaker_of(brittle) != "closed"
