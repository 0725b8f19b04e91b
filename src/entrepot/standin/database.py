"""The stand-in's SQLite file: one connection, one call at a time, each in a transaction of its own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from entrepot.standin.domains import matches
from entrepot.standin.models import MODELS, Field, Json, Model


class Database:
    """Tables for all models in ``standin.db`` under *directory*; made when missing."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        path = directory / "standin.db"
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.create_function("matches", 3, matches, deterministic=True)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes from a stand-in is no loss; the speed is welcome.
        self._connection.execute("PRAGMA synchronous = OFF")
        for model in MODELS.values():
            self._create_table(model)

    def _create_table(self, model: Model) -> None:
        columns = ", ".join(f"{field.name} {field.column_type}" for field in model.columns if field.name != "id")
        # AUTOINCREMENT: Odoo never gives the number of a deleted record again.
        self.run(f"CREATE TABLE IF NOT EXISTS {model.table} (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns})")
        for field in model.columns:
            if field.type == "many2one":
                name = f"{model.table}_{field.name}"
                self.run(f"CREATE INDEX IF NOT EXISTS {name} ON {model.table} ({field.name})")

    def run(self, sql: str, values: Sequence[Json] = ()) -> sqlite3.Cursor:
        """Execute one statement. *sql* holds names from the models only; every value is bound."""
        return self._connection.execute(sql, values)

    def rows(self, sql: str, values: Sequence[Json] = ()) -> list[tuple[Json, ...]]:
        """Execute a query and return all its rows."""
        return self.run(sql, values).fetchall()

    def ids(self, sql: str, values: Sequence[Json] = ()) -> list[int]:
        """Execute a query of one column and return it."""
        return [row[0] for row in self.rows(sql, values)]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the database for one call; keep what it did unless it raises."""
        with self._lock:
            self.run("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.run("ROLLBACK")
                raise
            self.run("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what was done inside when it raises, and no more."""
        self.run("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK TO part")
            self.run("RELEASE part")
            raise
        self.run("RELEASE part")

    def close(self) -> None:
        """Close the file after the call that is being served."""
        with self._lock:
            self._connection.close()


def referring_fields(model: Model) -> Iterator[tuple[Model, Field]]:
    """Yield every many2one of any model that leads to *model*."""
    for other in MODELS.values():
        for field in other.columns:
            if field.type == "many2one" and field.relation == model.name:
                yield other, field
