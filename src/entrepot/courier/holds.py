"""What couriers hold back: upstreams that do not fit the catalog, or are not in it, and clients that are not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import partial
from typing import Any, TypeVar

from entrepot.courier.books import MISCONFIGURED, Books
from entrepot.courier.standing import Standing
from entrepot.errors import StoreUnavailable

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""How long to wait when the store is away."""

Chore = Callable[[Coroutine[Any, Any, object]], None]
_T = TypeVar("_T")


class Holds:
    """The holds of one courier's making, and those it came upon. *chore* does work on the ledger beside all else.

    What is to be noted is tried until the store takes it, in the order in which it was asked for. *stir* is called when
    something may go again.
    """

    def __init__(self, books: Books, chore: Chore, stir: Callable[[], None]) -> None:
        self._books = books
        self._chore = chore
        self._stir = stir
        self._clients: set[str] = set()
        self._unknown: set[str] = set()
        self._turn = asyncio.Lock()

    async def learn(self, standing_of: Callable[[str], Standing | None]) -> None:
        """Take up the holds that are of others' making. *standing_of* is asked for the catalog's upstreams."""
        for hold in await _insist(self._books.holds):
            standing = standing_of(hold.upstream)
            if hold.reason != MISCONFIGURED or standing is None:
                continue
            if hold.until is None:
                self._unknown.discard(hold.upstream)
                self.release(hold.upstream)
            else:
                standing.begin_trial()
        self._clients.update(await _insist(self._books.held_clients))

    def hold(self, upstream: str, detail: str, until: float) -> None:
        """Let no courier deliver to *upstream* before *until* (Unix time)."""
        log.error("upstream is held, it does not fit the catalog", extra={"upstream": upstream, "reason": detail})
        self._chore(self._note(partial(self._books.hold, upstream, detail, until)))

    def hold_unknown(self, upstreams: Collection[str]) -> None:
        """Show that work waits for *upstreams*, which the catalog does not have."""
        for name in set(upstreams) - self._unknown:
            self._unknown.add(name)
            log.error("work waits for an upstream that the catalog does not have", extra={"upstream": name})
            self._chore(self._note(partial(self._books.hold, name, f"the catalog has no upstream {name}", None)))

    def hold_client(self, client: str) -> None:
        """Hold all work of *client*, which the catalog does not have any more."""
        if client not in self._clients:
            self._clients.add(client)
            log.warning("the catalog has no such client, its work is held", extra={"client": client})
            self._chore(self._note_all(partial(self._books.hold_client, client)))

    def release(self, upstream: str) -> None:
        """Let *upstream* have its work again."""
        log.info("upstream fits the catalog again", extra={"upstream": upstream})
        self._chore(self._note_all(partial(self._books.release, upstream)))

    def let_go(self, upstreams: Collection[str], clients: Collection[str]) -> None:
        """Let those of *upstreams* and *clients* go on that were held because the catalog did not have them."""
        for name in self._unknown.intersection(upstreams):
            self._unknown.discard(name)
            self.release(name)
        for client in [each for each in self._clients if each in clients]:
            self._clients.discard(client)
            self._chore(self._note_all(partial(self._books.release_client, client)))

    def hasten(self, upstream: str) -> None:
        """Let what waits for *upstream* be tried at once."""
        self._chore(self._note_all(partial(self._books.hasten, upstream)))

    async def _note(self, work: Callable[[], Awaitable[object]]) -> None:
        async with self._turn:
            await _insist(work)

    async def _note_all(self, step: Callable[[], Awaitable[int]]) -> None:
        """Repeat *step*, which returns how much it did, until there is nothing left to do."""
        async with self._turn:
            while await _insist(step):
                self._stir()
        self._stir()


async def _insist(work: Callable[[], Awaitable[_T]]) -> _T:
    """Return what *work* does, once the store takes it."""
    while True:
        try:
            return await work()
        except StoreUnavailable as error:
            log.warning("a hold cannot be noted now, it is tried again", extra={"reason": str(error)})
        await asyncio.sleep(AGAIN_S)
