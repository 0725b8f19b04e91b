"""Hold the work of a client that the catalog does not have any more, and let it go: in steps, for there may be much."""

from __future__ import annotations

from sqlalchemy import Connection, and_, null, select

from entrepot.ledger.entries import CLIENT_PREFIX
from entrepot.ledger.pauses import client_name
from entrepot.ledger.revival import let_go, of_waiting_partners
from entrepot.ledger.statements import ListStatement
from entrepot.store.ledger import holds, transactions

# Some tenths of a second.
STEP = 5_000

_t = transactions.c
_HOLD = ListStatement(
    _t.seq,
    lambda k: (
        transactions.update().where(_t.seq.in_(select(k.c.v))).values(state="held", reason="client", due_at=null())
    ),
)


def held_clients(connection: Connection) -> list[str]:
    """Return the clients whose work is held."""
    return _clients(connection, released=False)


def hold_client(connection: Connection, client: str, now: float, limit: int = STEP) -> int:
    """Hold what *client* will bring and *limit* of what waits of it; return how many were held, 0 when all are.

    What is left goes on until it is to be tried, and is held then.
    """
    name = client_name(client)
    if client not in held_clients(connection):
        connection.execute(holds.delete().where(holds.c.upstream == name))
        connection.execute(holds.insert().values(upstream=name, reason="client", detail="", since=now, until=None))
    waiting = select(_t.seq).where(of_waiting_partners(), _t.state.in_(("queued", "waiting")), _t.client == client)
    found = connection.scalars(waiting.limit(limit).with_for_update()).all()
    _HOLD.run(connection, found)
    return len(found)


def release_client(connection: Connection, client: str, now: float, limit: int = STEP) -> int:
    """Let what *client* will bring go, and *limit* of what is held of it; return how many may go, 0 when all may.

    What is left is let go by ``release_rest``.
    """
    name = client_name(client)
    count = let_go(connection, and_(_t.client == client, _t.reason == "client"), now, limit)
    if count < limit:
        connection.execute(holds.delete().where(holds.c.upstream == name))
    else:
        # As long as there is a rest, the hold stays on as one that has ended.
        connection.execute(holds.update().where(holds.c.upstream == name).values(until=now))
    return count


def release_rest(connection: Connection, now: float, limit: int) -> int:
    """Let go what is left of clients that were released, *limit* of each; return how many may go."""
    return sum(release_client(connection, client, now, limit) for client in _clients(connection, released=True))


def _clients(connection: Connection, *, released: bool) -> list[str]:
    names = connection.scalars(
        select(holds.c.upstream)
        .where(holds.c.upstream.startswith(CLIENT_PREFIX, autoescape=True), holds.c.until.is_not(None) == released)
        .order_by(holds.c.upstream)
    )
    return [name.removeprefix(CLIENT_PREFIX) for name in names]
