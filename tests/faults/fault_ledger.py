"""What stands in the ledger, read from its file and past all of our own code."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from running import eventually

FINISHED = ("delivered", "dead", "cancelled")


class Ledger:
    """A ledger, of which *ask* returns the rows that answer a statement."""

    def __init__(self, ask: Callable[[str], list[tuple]]):
        self.ask = ask

    @classmethod
    def of_store(cls, directory: Path) -> "Ledger":
        """Return the ledger in the SQLite file of the store in *directory*."""

        def ask(statement: str) -> list[tuple]:
            with closing(sqlite3.connect(f"file:{directory}/entrepot.db?mode=ro", uri=True, timeout=10)) as database:
                return database.execute(statement).fetchall()

        return cls(ask)

    @classmethod
    def of_postgresql(cls, server, url: str) -> "Ledger":
        """Return the ledger in the database at *url* of the tests' own *server*."""
        name = url.partition("@/")[2].partition("?")[0]
        return cls(lambda statement: server.do(statement, name))

    def states(self) -> dict[str, int]:
        """Return how many transactions are in each state."""
        return dict(self.ask("SELECT state, count(*) FROM transactions GROUP BY state"))

    def unfinished(self) -> dict[str, int]:
        """Return how many transactions were accepted and are not finished, by their states."""
        return {state: count for state, count in self.states().items() if state not in FINISHED}

    def wait_drained(self, timeout_s: float = 90.0) -> None:
        """Return when nothing is unfinished; AssertionError with what is left when that takes too long.

        What stands there then must be sound, too.
        """
        assert eventually(lambda: not self.unfinished(), timeout_s, 0.2), (
            f"after {timeout_s:g} s: {self.states()}\n{self.last_attempts()}"
        )
        self.assert_sound()

    def assert_sound(self) -> None:
        """Assert that the counts are those of the rows, and that nothing finished is leased or due."""
        rows = "SELECT upstream, partner, count(*), sum(size) FROM transactions WHERE finished_at IS NULL GROUP BY 1, 2"
        counts = "SELECT upstream, partner, unfinished, bytes FROM queues WHERE unfinished != 0 OR bytes != 0"
        assert eventually(lambda: sorted(self.ask(rows)) == sorted(self.ask(counts)), 30.0), self.ask(counts)
        odd = "lease IS NOT NULL OR leased_until IS NOT NULL OR due_at IS NOT NULL"
        finished = ", ".join(f"'{state}'" for state in FINISHED)
        assert self.ask(f"SELECT count(*) FROM transactions WHERE state IN ({finished}) AND ({odd})") == [(0,)]
        assert self.ask(
            f"SELECT count(*) FROM transactions WHERE (state IN ({finished})) != (finished_at IS NOT NULL)"
        ) == [(0,)]

    def wait_states(self, wanted: dict[str, int], timeout_s: float = 60.0) -> None:
        """Return when so many transactions are in each state as *wanted* says; AssertionError when they never are."""
        assert eventually(lambda: self.states() == wanted, timeout_s, 0.2), (self.states(), wanted)

    def last_attempts(self) -> str:
        """Return what came of the last attempts, for the report of a failure."""
        rows = self.ask("SELECT outcome, status, code, detail FROM attempts ORDER BY id DESC LIMIT 10")
        return "\n".join(" ".join(map(str, row)) for row in rows)
