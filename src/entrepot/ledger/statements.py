"""SQL that is compiled once for each kind of database, and run at the driver's price.

SQLAlchemy's own way to run a statement costs some 30 µs, and 10 more for each row; what is compiled here costs 5 a
statement. Lists of values come in set sizes, so that there are few different texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Dialect,
    ScalarSelect,
    Table,
    bindparam,
    case,
    column,
    func,
    select,
    text,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite

from entrepot.store.ledger import HOLDS_FOLLOWERS, transactions

Values = tuple[Any, ...]
Build = Callable[[], ClauseElement]
UNPASSED = text(HOLDS_FOLLOWERS.format("transactions."))

_LIST_SIZES = (1, 4, 16, 64, 256)
_ROW_SIZES = (1, 4, 16, 64)


class Statement:
    """A statement whose parameters are given by position, in the order of *names*."""

    def __init__(self, clause: ClauseElement | Callable[[Dialect], ClauseElement], *names: str) -> None:
        self._clause = clause
        self._names = names
        self._compiled: dict[str, tuple[str, Callable[[Values], Values] | None]] = {}

    def run(self, connection: Connection, *given: Any) -> CursorResult[Any]:
        """Run it with one row of values."""
        sql, order = self._on(connection.dialect)
        return connection.exec_driver_sql(sql, order(given) if order else given)

    def run_each(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Run it for each of *rows*."""
        if rows:
            sql, order = self._on(connection.dialect)
            connection.exec_driver_sql(sql, list(map(order, rows)) if order else list(rows))

    def _on(self, dialect: Dialect) -> tuple[str, Callable[[Values], Values] | None]:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = self._compile(dialect)
        return found

    def _compile(self, dialect: Any) -> tuple[str, Callable[[Values], Values] | None]:
        clause = self._clause(dialect) if callable(self._clause) else self._clause
        # By position on every driver: a tuple is made faster than a dict.
        by_position = type(dialect)(paramstyle="qmark" if dialect.name == "sqlite" else "format")
        compiled: Any = clause.compile(dialect=by_position, compile_kwargs={"render_postcompile": True})
        placed = tuple(compiled.positiontup or ())
        if placed == self._names:
            return str(compiled), None
        constants = {name: compiled.params[name] for name in placed if name not in self._names}
        names = (*self._names, *constants)
        return str(compiled), _picker([names.index(name) for name in placed], tuple(constants.values()))


class ListStatement:
    """A statement about a list of values: *build* makes it of a table ``k`` with one column ``v`` that holds them.

    Its further parameters are *names*, given after the list.
    """

    def __init__(self, kind: Column[Any], build: Callable[[CTE], ClauseElement], *names: str) -> None:
        self._by_size = {size: _with_list(kind, build, size, names) for size in _LIST_SIZES}

    def rows(self, connection: Connection, listed: Iterable[Any], *further: Any) -> list[Any]:
        """Run it as often as the length of the list asks for, and return all rows."""
        found: list[Any] = []
        for some in _padded(sorted(set(listed))):
            found.extend(self._by_size[len(some)].run(connection, *some, *further))
        return found

    def run(self, connection: Connection, listed: Iterable[Any], *further: Any) -> None:
        """Run it as often as the length of the list asks for."""
        for some in _padded(sorted(set(listed))):
            self._by_size[len(some)].run(connection, *some, *further)


class RowInsert:
    """An insert of many rows by one statement: one step of the driver, for which it gives up the GIL once.

    *conflict* says what happens to rows that are there: it gets the dialect's insert and returns it completed.
    """

    def __init__(self, table: Table, *columns: Column[Any], conflict: Callable[[Any], Any] | None = None) -> None:
        self._by_size = {size: _insert(table, columns, size, conflict) for size in _ROW_SIZES}

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Insert *rows*, whose values are in the order of the columns."""
        start = 0
        for size in reversed(_ROW_SIZES):
            while len(rows) - start >= size:
                self._by_size[size].run(connection, *(value for row in rows[start : start + size] for value in row))
                start += size


def param(name: str, like: Column[Any]) -> BindParameter[Any]:
    """Return the parameter *name*, of the type of the column *like*."""
    return bindparam(name, type_=like.type, required=False)


def head_of(order_key: ColumnElement[Any], listed: CTE | None = None) -> ScalarSelect[Any]:
    """Return, as a subquery, the ``seq`` of the first transaction with *order_key* that holds its followers.

    *listed* is the table that *order_key* is a column of.
    """
    return (
        select(func.min(transactions.c.seq))
        .where(transactions.c.order_key == order_key, UNPASSED)
        .correlate(listed)
        .scalar_subquery()
    )


def due_from(now: BindParameter[Any]) -> ColumnElement[Any]:
    """Return when a transaction may be tried that may go from *now* on: not while its upstream may be at work on it."""
    return case((transactions.c.rests_until > now, transactions.c.rests_until), else_=now)


def _with_list(
    kind: Column[Any], build: Callable[[CTE], ClauseElement], size: int, names: tuple[str, ...]
) -> Statement:
    listed = [bindparam(f"k{number}", type_=kind.type, required=False) for number in range(size)]
    table = values(column("v", kind.type), name="k").data([(one,) for one in listed]).cte("k")
    return Statement(build(table), *(one.key for one in listed), *names)


def _insert(
    table: Table, columns: tuple[Column[Any], ...], size: int, conflict: Callable[[Any], Any] | None
) -> Statement:
    rows: list[dict[str, BindParameter[Any]]] = [
        {one.name: bindparam(f"{one.name}_{number}", type_=one.type, required=False) for one in columns}
        for number in range(size)
    ]
    names = tuple(f"{one.name}_{number}" for number in range(size) for one in columns)

    def build(dialect: Dialect) -> ClauseElement:
        insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        clause: Any = insert(table).values(rows)
        done: ClauseElement = conflict(clause) if conflict else clause
        return done

    return Statement(build, *names)


def _padded(listed: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield *listed* in parts of the sizes that there are statements for; the last is filled up by repeating."""
    largest = _LIST_SIZES[-1]
    for start in range(0, len(listed), largest):
        some = listed[start : start + largest]
        size = next(size for size in _LIST_SIZES if size >= len(some))
        yield (*some, *([some[-1]] * (size - len(some))))


def _picker(places: list[int], constants: Values) -> Callable[[Values], Values]:
    """Return the function that puts values, and *constants* after them, into their places."""
    if not places:
        return lambda _given: ()
    # With one place only it would return the bare value.
    pick = itemgetter(*places) if len(places) > 1 else lambda given: (given[places[0]],)
    return lambda given: pick((*given, *constants))
