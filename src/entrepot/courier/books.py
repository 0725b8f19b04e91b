"""The ledger as the courier's loop sees it: changes run on the writer's thread, results come back on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from entrepot.chassis.errors import Error
from entrepot.errors import StoreUnavailable
from entrepot.ledger import claim as claims
from entrepot.ledger import operate, retention, settle
from entrepot.ledger.entries import ClaimRequest, Hold, Lease, Memory, Renewal, Settlement
from entrepot.ledger.losses import reclaim
from entrepot.ledger.pauses import ends_of_holds
from entrepot.ledger.recovery import hasten
from entrepot.ledger.writer import Done, Handler, Writer, call_each
from entrepot.store.engine import Database
from entrepot.store.ledger import queues

PRUNE_STEP = 500
# Pages of 4 KiB that go back to the file system at once, which takes some ten milliseconds; so many stay, for the next
# hour fills them.
FREED_PAGES = 1024
SPARE_PAGES = 2048
MISCONFIGURED = "misconfigured"

Found = tuple[list[Lease], float | None]
"""What a claim gave, and when the next transaction of the upstream is due, if that was all."""
_T = TypeVar("_T")


class Books:
    """What a courier does in the ledger. For the thread of *loop*.

    The changes that are submitted while a commit is under way share the next one. Each *done* gets its result, or the
    Error why there is none.
    """

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        self._database = database
        self._loop = loop
        self._writer = Writer(database, deliver=self._hop)

    def claim(self, request: ClaimRequest, done: Callable[[Found | Error], None]) -> None:
        """Lease what *request* asks for."""
        self._submit(_claim, request, done)

    def settle(self, settlement: Settlement, done: Callable[[bool | Error], None]) -> None:
        """Note what came of a lease; False when it was not ours any more."""
        self._submit(settle.settle, settlement, done)

    def renew(self, renewal: Renewal, done: Callable[[bool | Error], None]) -> None:
        """Make a lease last longer; False when it was not ours any more."""
        self._submit(claims.renew, renewal, done)

    async def remember(self, memory: Memory) -> bool:
        """Keep what a connector noted of a lease; False when it was not ours any more. Raises StoreUnavailable."""
        return bool(await self._asked(settle.remember, memory))

    async def reclaim(self, own: Sequence[Lease], lease_s: float) -> int:
        """Free the work whose leases ran out, except *own*, which are renewed before, for *lease_s*.

        Returns how much it is. Raises StoreUnavailable.
        """
        return int(await self._asked(_reclaim, (own, lease_s)))

    async def held(self, upstreams: Collection[str]) -> set[str]:
        """Return those of *upstreams* that are held. What is claimed after that is none of theirs.

        Raises StoreUnavailable.
        """
        found: set[str] = await self._asked(_held, upstreams)
        return found

    async def hold(self, upstream: str, detail: str, until: float | None) -> None:
        """Let nothing be delivered to *upstream* until *until*, for it is misconfigured. Raises StoreUnavailable."""
        await self._asked(_hold, (upstream, detail, until))

    async def release(self, upstream: str) -> int:
        """Let some of the work of *upstream* go, unless an operator holds it, and return how much; 0 when all goes.

        Raises StoreUnavailable.
        """
        return int(await self._asked(_release, upstream))

    async def hold_client(self, client: str) -> int:
        """Hold some of the work of *client*, and return how much; 0 when all is held. Raises StoreUnavailable."""
        return int(await self._asked(_hold_client, client))

    async def release_client(self, client: str) -> int:
        """Let some of the work of *client* go on, and return how much; 0 when all goes. Raises StoreUnavailable."""
        return int(await self._asked(_release_client, client))

    async def hasten(self, upstream: str) -> int:
        """Make due at once some of what waits to be tried again at *upstream*, and return how much; 0 when all is.

        Raises StoreUnavailable.
        """
        return int(await self._asked(hasten, upstream))

    async def prune(self, policy: retention.Retention) -> int:
        """Forget a bounded number of what need not be kept, and return how many. Raises StoreUnavailable."""
        return int(await self._asked(_prune, policy))

    async def give_back(self) -> int:
        """Give a bounded number of free pages back to the file system, and return how many. Raises StoreUnavailable."""
        give_back = partial(self._database.give_back, FREED_PAGES, spare=SPARE_PAGES)
        return await self._loop.run_in_executor(None, give_back)

    async def backlog(self) -> dict[str, int]:
        """Return how many transactions are unfinished at each upstream that has some. Raises StoreUnavailable."""
        return await self._loop.run_in_executor(None, self._read, _backlog)

    async def holds(self) -> list[Hold]:
        """Return which upstreams are held. Raises StoreUnavailable."""
        return await self._loop.run_in_executor(None, self._read, operate.holds)

    async def held_clients(self) -> list[str]:
        """Return which clients are held. Raises StoreUnavailable."""
        return await self._loop.run_in_executor(None, self._read, operate.held_clients)

    def close(self) -> None:
        """Finish what was submitted; blocks until then."""
        self._writer.close()

    def _read(self, read: Callable[[Connection], _T]) -> _T:
        with self._database.reading() as session:
            return read(session.connection())

    async def _asked(self, handler: Handler, item: Any) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._submit(handler, item, partial(_resolve, answer))
        return await answer

    def _submit(self, handler: Handler, item: Any, done: Done) -> None:
        try:
            self._writer.submit(handler, item, done)
        except StoreUnavailable as error:
            self._loop.call_soon(done, error)

    def _hop(self, calls: Sequence[Callable[[], object]]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call_each, calls)


def _resolve(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return
    if isinstance(result, Error):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _backlog(connection: Connection) -> dict[str, int]:
    count = func.sum(queues.c.unfinished)
    rows = connection.execute(
        select(queues.c.upstream, count).where(queues.c.unfinished > 0).group_by(queues.c.upstream)
    )
    return {upstream: int(number) for upstream, number in rows}


def _claim(connection: Connection, items: Sequence[ClaimRequest], now: float) -> list[Found]:
    found = claims.claim(connection, items, now)
    return [
        (leases, None if len(leases) == item.limit else claims.next_due(connection, item.upstream))
        for item, leases in zip(items, found, strict=True)
    ]


def _reclaim(connection: Connection, items: Sequence[tuple[Sequence[Lease], float]], now: float) -> list[int]:
    # From now on, and not from when it was asked: the store may have been away since.
    own = [Renewal(lease.seq, lease.token, now + lease_s) for leases, lease_s in items for lease in leases]
    claims.renew(connection, own, now)
    return [reclaim(connection, now) for _ in items]


def _held(connection: Connection, items: Sequence[Collection[str]], now: float) -> list[set[str]]:
    ends = ends_of_holds(connection, {name for names in items for name in names}, now)
    return [{name for name in names if ends[name] is not None} for names in items]


def _hold(connection: Connection, items: Sequence[tuple[str, str, float | None]], now: float) -> list[None]:
    for upstream, detail, until in items:
        operate.hold(connection, upstream, MISCONFIGURED, detail, until, now)
    return [None] * len(items)


def _release(connection: Connection, items: Sequence[str], now: float) -> list[int]:
    ours = {hold.upstream for hold in operate.holds(connection) if hold.reason == MISCONFIGURED}
    return [operate.release(connection, upstream, now) if upstream in ours else 0 for upstream in items]


def _hold_client(connection: Connection, items: Sequence[str], now: float) -> list[int]:
    return [operate.hold_client(connection, client, now) for client in items]


def _release_client(connection: Connection, items: Sequence[str], now: float) -> list[int]:
    return [operate.release_client(connection, client, now) for client in items]


def _prune(connection: Connection, items: Sequence[retention.Retention], now: float) -> list[int]:
    return [retention.prune(connection, policy, now, PRUNE_STEP) for policy in items]
