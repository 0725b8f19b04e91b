"""What a courier notes in the ledger reaches it, also when the store is away or cannot keep all of it."""

import asyncio
import time

import pytest
from stand import eventually

from entrepot.chassis.errors import Error
from entrepot.courier import verdict
from entrepot.courier.books import Books
from entrepot.courier.holds import Holds
from entrepot.errors import StoreUnavailable
from entrepot.ledger import operate
from entrepot.ledger.acceptance import accept
from entrepot.ledger.entries import (
    Acceptance,
    Attempt,
    ClaimRequest,
    NewTransaction,
    PlanText,
    Quota,
    Settlement,
    new_id,
)
from entrepot.store import schema
from entrepot.store.engine import open_database


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def database(directory):
    database = open_database(f"sqlite:///{directory}/entrepot.db", busy_timeout_s=0.5)
    schema.prepare(database)
    yield database
    database.close()


def on_loop(database, use):
    """Run *use* with books on *database*, and what it began to its end."""

    async def run():
        loop = asyncio.get_running_loop()
        books, chores = Books(database, loop), []
        try:
            result = await use(books, lambda work: chores.append(loop.create_task(work)))
            await asyncio.wait_for(asyncio.gather(*chores), 10)
            return result
        finally:
            await loop.run_in_executor(None, books.close)

    return asyncio.run(run())


def held(database):
    with database.reading() as session:
        return operate.held_clients(session.connection())


async def logged(caplog, message):
    """Return when *message* was logged."""
    assert await asyncio.to_thread(eventually, lambda: message in caplog.messages)


def test_a_hold_and_its_release_reach_a_store_that_was_away(database, directory, caplog):
    async def while_away(books, chore):
        holds = Holds(books, chore, lambda: None)
        database.engine.dispose()
        directory.rename(directory.with_name("away"))
        holds.hold_client("gone")
        holds.hold_client("back")
        holds.let_go([], ["back"])
        await logged(caplog, "a hold cannot be noted now, it is tried again")
        with pytest.raises(StoreUnavailable):
            await books.held_clients()
        directory.with_name("away").rename(directory)

    on_loop(database, while_away)

    assert held(database) == ["gone"]


def test_holds_are_learned_of_a_store_that_was_away(database, directory, caplog):
    with database.writing() as connection:
        operate.hold_client(connection, "back", time.time())

    async def learn(books, chore):
        holds = Holds(books, chore, lambda: None)
        database.engine.dispose()
        directory.rename(directory.with_name("away"))
        learning = asyncio.create_task(holds.learn(lambda _: None))
        await logged(caplog, "a hold cannot be noted now, it is tried again")
        directory.with_name("away").rename(directory)
        await learning
        holds.let_go([], ["back"])

    on_loop(database, learn)

    assert held(database) == []


def test_a_settlement_that_the_ledger_cannot_keep_is_kept_without_what_was_said(database):
    tried = Attempt("host:1", 1.0, 2.0, "record", 422, "upstream-rejected", "a lone surrogate: \ud800")

    async def settle(books, _chore):
        loop = asyncio.get_running_loop()
        claimed = loop.create_future()
        books.claim(ClaimRequest("carrier", 1, "host:1", 30.0), claimed.set_result)
        ((lease,), _) = await claimed
        whole = Settlement(lease.seq, lease.token, "dead", "no", tried)
        results = []
        for settlement in (whole, verdict.bare(whole)):
            result = loop.create_future()
            books.settle(settlement, result.set_result)
            results.append(await result)
        return results

    with database.writing() as connection:
        accept(connection, [Acceptance(new(), Quota())], time.time())

    refused, kept = on_loop(database, settle)

    assert (type(refused), kept) == (Error, True)


def new():
    """Return a relay for the upstream carrier."""
    now = time.time()
    return NewTransaction(
        id=new_id(), partner="acme", client="shop", endpoint="notes", upstream="carrier", kind="relay",
        operation_id="op", plan=PlanText("c" * 64, "{}"), target="POST /v1/notes", facts={}, body=b"one",
        order_key=None, accepted_at=now, expires_at=now + 60, due_at=now,
    )  # fmt: skip
