from __future__ import annotations

import asyncio
import time

import pytest
from odoo_support import caller, scripted, upstream

from entrepot import errors
from entrepot.chassis.shared import SharedState
from entrepot.connectors.odoo import jsonrpc
from entrepot.connectors.odoo.jsonrpc import JsonRpcWire
from entrepot.connectors.odoo.refusals import Attempts, OwnRefusals, SharedRefusals

DENIED = {"error": {"code": 200, "data": {"name": "odoo.exceptions.AccessDenied", "message": "Access Denied"}}}


class Odoo:
    """Takes one secret, and counts what it refuses: logins, and calls on a login with another secret."""

    def __init__(self, secret):
        self.secret = secret
        self.logins = 0
        self.refused = 0

    def __call__(self, request):
        params = request["params"]
        is_login = params["service"] == "common"
        self.logins += is_login
        if params["args"][2] == self.secret:
            return {"result": 2 if is_login else []}
        self.refused += 1
        return {"result": False} if is_login else DENIED


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "erp"
    place.write_text("old\n")
    return place


@pytest.fixture
def shared(tmp_path):
    state = SharedState.open(tmp_path / "shared")
    yield state
    state.close()


async def ask(wire):
    return await wire.execute("res.partner", "search_read", [], {}, deadline=caller(seconds=5).deadline)


async def is_refused(wire):
    with pytest.raises(errors.UpstreamMisconfigured, match="refuses the login"):
        await ask(wire)
    return True


def with_wires(odoo, place, refusals, work):
    async def main():
        async with scripted(odoo) as post:
            there = upstream(secret=f"file:{place}")
            await work([JsonRpcWire(there, post, refusals=each) for each in refusals])

    asyncio.run(main())


def test_password_that_is_changed_in_use_is_tried_once_by_the_call_and_once_by_the_login(place):
    odoo = Odoo("old")

    async def work(wires):
        await ask(wires[0])
        odoo.secret = "new"
        for _ in range(20):
            assert await is_refused(wires[0])

    with_wires(odoo, place, [None], work)

    assert odoo.refused == 2


def test_call_that_waited_while_the_account_was_refused_is_not_sent(place):
    odoo = Odoo("old")
    refusals = OwnRefusals()

    async def work(wires):
        await ask(wires[0])
        odoo.secret = "new"
        place.write_text("new\n")
        asking = asyncio.create_task(ask(wires[0]))
        # It has left its connector, and has no place yet.
        await asyncio.sleep(0)
        refusals.drop(time.monotonic())
        assert await asking == []

    with_wires(odoo, place, [refusals], work)

    assert odoo.refused == 0


def test_workers_of_a_host_learn_of_a_refusal_from_each_other(place, shared):
    odoo = Odoo("old")
    there = upstream(secret=f"file:{place}")

    async def work(wires):
        for wire in wires:
            await ask(wire)
        odoo.secret = "new"
        for wire in wires:
            assert await is_refused(wire)

    with_wires(odoo, place, [SharedRefusals(shared, there) for _ in range(12)], work)

    assert odoo.refused == 2


def test_workers_that_are_asked_meanwhile_wait_for_the_first_login(place, shared, monkeypatch):
    monkeypatch.setattr(jsonrpc, "SETTLED_S", 2.0)
    odoo = Odoo("old")
    refusals = SharedRefusals(shared, upstream(secret=f"file:{place}"))

    async def work(wires):
        await asyncio.gather(*map(ask, wires))
        odoo.secret = "new"
        refusals.drop(time.monotonic())
        waiting = [asyncio.create_task(is_refused(wire)) for wire in wires]
        await asyncio.sleep(0.1)
        refusals.refuse(time.monotonic() + 10.0)
        await asyncio.gather(*waiting)

    with_wires(odoo, place, [refusals] * 4, work)

    assert odoo.refused == 0


def test_waiting_for_the_first_login_leaves_time_for_our_own(place, monkeypatch):
    monkeypatch.setattr(jsonrpc, "SETTLED_S", 60.0)
    refusals = OwnRefusals()

    async def main():
        async with scripted(Odoo("old")) as post:
            wire = JsonRpcWire(upstream(secret=f"file:{place}", timeout_s=2.0), post, refusals=refusals)
            refusals.drop(time.monotonic())
            return await wire.execute("res.partner", "read", [], {}, deadline=caller(seconds=2.0).deadline)

    assert asyncio.run(main()) == []


def test_password_that_is_changed_with_the_secret_fails_no_call(place, shared):
    odoo = Odoo("old")
    there = upstream(secret=f"file:{place}")

    async def work(wires):
        await asyncio.gather(*map(ask, wires))
        odoo.secret = "new"
        place.write_text("new\n")
        assert await asyncio.gather(*map(ask, wires)) == [[]] * 4

    with_wires(odoo, place, [SharedRefusals(shared, there) for _ in range(4)], work)

    assert odoo.logins == 8


def test_another_account_is_not_held_back(shared):
    SharedRefusals(shared, upstream()).refuse(100.0)

    assert SharedRefusals(shared, upstream()).until() == 100.0
    assert SharedRefusals(shared, upstream(login="another")).until() == 0.0


def test_refused_secret_waits_longer_each_time_and_at_most_a_minute():
    attempts = Attempts(OwnRefusals(), lambda: "wrong")
    attempts.refused("wrong", 1000.0)
    tried = []

    for now in range(1, 400):
        if attempts.may_try(1000.0 + now):
            attempts.refused("wrong", 1000.0 + now)
            tried.append(now)

    assert tried == [10, 40, 100, 160, 220, 280, 340]


def test_secret_that_was_mended_is_tried_within_seconds():
    secrets = ["wrong"]
    attempts = Attempts(OwnRefusals(), lambda: secrets[-1])
    attempts.refused("wrong", 1000.0)
    assert attempts.may_try(1010.0)
    secrets.append("right")

    tried_at = next(now for now in range(1011, 1100) if attempts.may_try(float(now)))

    assert tried_at == 1015


def test_one_of_many_workers_tries_again():
    refusals = OwnRefusals()
    workers = [Attempts(refusals, lambda: "wrong") for _ in range(8)]
    workers[0].refused("wrong", 1000.0)

    assert sum(worker.may_try(1005.0) for worker in workers) == 0
    assert sum(worker.may_try(1010.0) for worker in workers) == 1


def test_good_login_lifts_the_refusal_for_all():
    refusals = OwnRefusals()
    first, second = Attempts(refusals, lambda: "x"), Attempts(refusals, lambda: "x")
    first.refused("x", 1000.0)
    assert first.may_try(1010.0)

    first.accepted()

    assert second.may_try(1010.0)


def test_attempt_without_an_answer_may_be_repeated_at_once():
    attempts = Attempts(OwnRefusals(), lambda: "x")
    attempts.refused("x", 1000.0)
    assert attempts.may_try(1010.0)

    attempts.unanswered(1011.0)

    assert attempts.may_try(1011.0)
