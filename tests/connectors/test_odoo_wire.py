from __future__ import annotations

import asyncio

import pytest
from odoo_support import PARTNERS, SocketPost, caller, scripted, upstream

from entrepot import errors
from entrepot.connectors.base import ListQuery
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.connectors.odoo.jsonrpc import JsonRpcWire

DENIED = {"error": {"code": 200, "data": {"name": "odoo.exceptions.AccessDenied", "message": "Access Denied"}}}
GONE = "Record does not exist or has been deleted.\n(Record: res.users({0},), User: {0})"


class Accounts:
    """Odoo's side of a login: hands out a new user id each time, and takes only the newest."""

    def __init__(self, secret="admin", refusal=DENIED):
        self.secret = secret
        self.refusal = refusal
        self.uid = 1
        self.logins = 0

    def __call__(self, request):
        params = request["params"]
        if params["service"] == "common":
            self.logins += 1
            if params["args"][2] != self.secret:
                return {"result": False}
            self.uid += 1
            return {"result": self.uid}
        if params["args"][1:3] != [self.uid, self.secret]:
            return self.refusal
        return {"result": []}


def run(answer, work):
    async def main():
        async with scripted(answer) as post:
            return await work(post)

    return asyncio.run(main())


async def ask(wire, seconds=5.0):
    return await wire.execute("res.partner", "search_read", [], {}, deadline=caller(seconds=seconds).deadline)


def test_login_is_kept():
    accounts = Accounts()

    async def work(post):
        wire = JsonRpcWire(upstream(), post)
        await ask(wire)
        await ask(wire)

    run(accounts, work)

    assert accounts.logins == 1


@pytest.mark.parametrize("missing_user", [False, True])
def test_refused_login_is_renewed_and_the_call_sent_again(missing_user):
    accounts = Accounts()

    async def work(post):
        wire = JsonRpcWire(upstream(), post)
        await ask(wire)
        if missing_user:
            message = GONE.format(accounts.uid)
            accounts.refusal = {"error": {"data": {"name": "odoo.exceptions.MissingError", "message": message}}}
        accounts.uid += 10
        return await ask(wire)

    assert run(accounts, work) == []
    assert accounts.logins == 2


def test_callers_that_are_refused_together_share_one_login():
    accounts = Accounts()

    async def work(post):
        wire = JsonRpcWire(upstream(), post)
        await asyncio.gather(*(ask(wire) for _ in range(8)))
        accounts.uid += 10
        await asyncio.gather(*(ask(wire) for _ in range(8)))

    run(accounts, work)

    assert accounts.logins == 2


def test_changed_secret_is_read_again(tmp_path):
    place = tmp_path / "erp"
    place.write_text("old\n")
    accounts = Accounts("old")

    async def work(post):
        wire = JsonRpcWire(upstream(secret=f"file:{place}"), post)
        await ask(wire)
        accounts.secret = "new"
        place.write_text("new\n")
        return await ask(wire)

    assert run(accounts, work) == []


def test_refused_login_is_not_tried_at_every_call():
    accounts = Accounts("another")

    async def work(post):
        wire = JsonRpcWire(upstream(), post)
        for _ in range(3):
            with pytest.raises(errors.UpstreamMisconfigured, match="refuses the login"):
                await ask(wire)

    run(accounts, work)

    assert accounts.logins == 1


def test_secret_that_cannot_be_read_is_a_mistake_of_the_set_up():
    async def work(post):
        with pytest.raises(errors.UpstreamMisconfigured):
            await ask(JsonRpcWire(upstream(secret="env:NO_SUCH_SECRET_HERE"), post))

    run(Accounts(), work)


def test_caller_does_not_wait_for_a_login_beyond_its_deadline():
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    async def main():
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        post = SocketPost(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        wire = JsonRpcWire(upstream(timeout_s=0.3), post)
        with pytest.raises(errors.UpstreamTimeout):
            await ask(wire, seconds=0.05)
        await asyncio.sleep(0.35)
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", errors.UpstreamBadAnswer),
        (b"<html>", errors.UpstreamBadAnswer),
        (b'{"jsonrpc": "2.0", "id": 1, "result": NaN}', errors.UpstreamBadAnswer),
        (b'{"jsonrpc": "2.0", "id": 1, "result": "\\ud800"}', errors.UpstreamBadAnswer),
        (b"[]", errors.UpstreamBadAnswer),
        (b"3", errors.UpstreamBadAnswer),
        (b'{"jsonrpc": "2.0", "id": 99999, "result": []}', errors.UpstreamBadAnswer),
        (b'{"jsonrpc": "2.0", "result": []}', errors.UpstreamBadAnswer),
        ({"error": "x"}, errors.UpstreamBadAnswer),
        ({"error": {"code": 200}}, errors.UpstreamBadAnswer),
        ({"result": 3}, errors.UpstreamBadAnswer),
        ({"result": [3]}, errors.UpstreamBadAnswer),
        ({"result": [{"id": 1}]}, errors.UpstreamBadAnswer),
        ((500, b"<h1>Internal Server Error</h1>"), errors.UpstreamUnavailable),
        ((503, b""), errors.UpstreamUnavailable),
        ((404, b'{"jsonrpc": "2.0", "id": null, "error": {}}'), errors.UpstreamMisconfigured),
        ((302, b""), errors.UpstreamMisconfigured),
        ((400, b"<h1>Bad Request</h1>"), errors.UpstreamBadAnswer),
        ((405, b""), errors.UpstreamBadAnswer),
    ],
)
def test_answer_that_is_no_answer_of_odoo(said, expected):
    def answer(request):
        return {"result": 2} if request["params"]["service"] == "common" else said

    async def work(post):
        with pytest.raises(expected) as caught:
            await OdooConnector(upstream(), post).list(PARTNERS, ListQuery(), caller())
        assert type(caught.value) is expected

    run(answer, work)


def test_method_that_returns_nothing_gives_null():
    def answer(request):
        return {"result": 2} if request["params"]["service"] == "common" else {}

    async def work(post):
        return await ask(JsonRpcWire(upstream(), post))

    assert run(answer, work) is None


def test_probe_tells_whether_odoo_and_its_database_are_up():
    async def work(post):
        await OdooConnector(upstream(), post).probe(deadline=caller().deadline)

    run(lambda request: {"result": {"server_version": "14.0"}}, work)
    with pytest.raises(errors.UpstreamUnavailable):
        run(lambda request: (500, b"<h1>"), work)


def test_context_of_the_endpoint_goes_over_that_of_the_upstream():
    seen = []

    def answer(request):
        seen.append(request["params"]["args"])
        return {"result": 2} if request["params"]["service"] == "common" else {"result": []}

    async def work(post):
        connector = OdooConnector(upstream(context={"lang": "fr_FR", "active_test": False}), post)
        await connector.list(PARTNERS, ListQuery(), caller(context={"lang": "de_DE"}))

    run(answer, work)

    assert seen[-1][6]["context"] == {"lang": "de_DE", "tz": "UTC", "active_test": False}
