"""What is held: upstreams that nothing is delivered to, and clients whose work waits."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from entrepot.ledger.entries import CLIENT_PREFIX
from entrepot.ledger.statements import ListStatement
from entrepot.store.ledger import holds

ALL = "*"
INFINITY = float("inf")

_NAMED = ListStatement(
    holds.c.upstream, lambda k: select(holds.c.upstream, holds.c.until).join(k, k.c.v == holds.c.upstream)
)


def client_name(client: str) -> str:
    """Return the name that the hold of *client* has; no upstream can have it."""
    return CLIENT_PREFIX + client


def held_clients(connection: Connection, clients: Iterable[str], now: float) -> set[str]:
    """Return which of *clients* are held at *now*."""
    names = {client_name(client): client for client in clients}
    return {names[row[0]] for row in _NAMED.rows(connection, names) if is_held(row[1], now)}


def end_of_hold(connection: Connection, upstream: str, now: float) -> float | None:
    """Return when the holds of *upstream* and of all end: infinity for never, None when there is none at *now*."""
    return ends_of_holds(connection, (upstream,), now)[upstream]


def ends_of_holds(connection: Connection, upstreams: Iterable[str], now: float) -> dict[str, float | None]:
    """Return of each of *upstreams* what ``end_of_hold`` does."""
    wanted = set(upstreams)
    found = _NAMED.rows(connection, {ALL, *wanted}) if wanted else []
    ends = {row[0]: INFINITY if row[1] is None else row[1] for row in found if is_held(row[1], now)}
    return {name: max((ends[each] for each in (ALL, name) if each in ends), default=None) for name in wanted}


def is_held(until: float | None, now: float) -> bool:
    """Tell whether a hold until *until* holds at *now*."""
    return until is None or until > now
