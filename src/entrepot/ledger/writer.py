"""A thread that commits what others submit, as much at once as has come in: group commit.

One commit costs a sync of the disk, whatever it carries. While one is on its way, further work gathers; the next
carries it all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection

from entrepot.chassis.errors import Error
from entrepot.errors import StoreUnavailable
from entrepot.store.backend import Clock
from entrepot.store.engine import Database

log = logging.getLogger(__name__)

Handler = Callable[[Connection, Sequence[Any], float], Sequence[Any]]
Done = Callable[[Any], object]
Deliver = Callable[[Sequence[Callable[[], object]]], None]
Submission = tuple[Handler, Any, Done]

# Longer commits would keep other writers of the database waiting.
BATCH = 512


class Writer:
    """Runs handlers in transactions of *database*, each with all items that came for it meanwhile.

    ``handler(connection, items, now)`` returns a result for each item. Each *done* gets its result, or the Error why
    there is none, after the commit; the calls of one commit are handed to *deliver* together, on the writer's thread
    (without it they are made there). *on_commit* is called after each commit, before that. *clock* gives *now*, the
    database's if there is none.
    """

    def __init__(
        self,
        database: Database,
        *,
        on_commit: Callable[[], object] | None = None,
        deliver: Deliver | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._on_commit = on_commit
        self._deliver = deliver or call_each
        self._clock = clock or database.now
        self._incoming: SimpleQueue[Submission | None] = SimpleQueue()
        self._closed = False
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, handler: Handler, item: Any, done: Done) -> None:
        """Let *handler* run for *item*, and call *done* afterwards. Raises StoreUnavailable once it is closed."""
        with self._door:
            if self._closed:
                raise StoreUnavailable("this process ends and writes nothing more")
            self._incoming.put((handler, item, done))

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._incoming.put(None)
        self._thread.join()

    def _work(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._gather()
            if batch:
                self._run(batch)

    def _gather(self) -> tuple[list[Submission], bool]:
        """Wait for something, and return all that is there, and whether more may come."""
        batch: list[Submission] = []
        taken = self._incoming.get()
        try:
            while taken is not None:
                batch.append(taken)
                if len(batch) == BATCH:
                    return batch, True
                taken = self._incoming.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _run(self, batch: Sequence[Submission]) -> None:
        """Commit *batch*; when it breaks a rule, each half of it, so that only the item that does so fails."""
        try:
            results = self._commit(batch)
        except StoreUnavailable as exc:
            self._fail((*batch, *self._waiting()), exc)
        except Exception as exc:
            if len(batch) > 1:
                self._run(batch[: len(batch) // 2])
                self._run(batch[len(batch) // 2 :])
                return
            log.exception("a change of the ledger failed")
            self._fail(batch, exc if isinstance(exc, Error) else Error())
        else:
            if self._on_commit is not None:
                call_each((self._on_commit,))
            self._tell([partial(done, result) for (_, _, done), result in zip(batch, results, strict=True)])

    def _commit(self, batch: Sequence[Submission]) -> list[Any]:
        groups: dict[Handler, list[int]] = {}
        for place, (handler, _, _) in enumerate(batch):
            groups.setdefault(handler, []).append(place)
        results: list[Any] = [None] * len(batch)
        with self._database.writing() as connection:
            now = self._clock()
            for handler, places in groups.items():
                found = handler(connection, [batch[place][1] for place in places], now)
                for place, result in zip(places, found, strict=True):
                    results[place] = result
        return results

    def _waiting(self) -> list[Submission]:
        """Return what came while the database did not answer: it would wait as long again, and in vain."""
        found: list[Submission] = []
        try:
            while True:
                taken = self._incoming.get_nowait()
                if taken is None:
                    # The end comes after what it was submitted after; it is put back for _gather.
                    self._incoming.put(None)
                    return found
                found.append(taken)
        except Empty:
            return found

    def _fail(self, batch: Sequence[Submission], error: Error) -> None:
        self._tell([partial(done, error) for _, _, done in batch])

    def _tell(self, calls: Sequence[Callable[[], object]]) -> None:
        try:
            self._deliver(calls)
        except Exception:
            # The thread goes on: others wait for it.
            log.exception("what came of changes of the ledger cannot be told")


def call_each(calls: Sequence[Callable[[], object]]) -> None:
    """Call all of *calls*, whatever one of them does."""
    for call in calls:
        try:
            call()
        except Exception:
            log.exception("the result of a change or a look at the ledger is not taken")
