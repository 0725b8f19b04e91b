"""Hold the work of a client, and let it go: in steps, for there may be much.

A client is held because the catalog does not have it any more, which couriers see to, or because an operator has
disabled it, which they leave alone.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, null, select

from entrepot.ledger.entries import CLIENT_PREFIX
from entrepot.ledger.pauses import client_name
from entrepot.ledger.revival import STEP, let_go, of_waiting_partners
from entrepot.ledger.statements import ListStatement
from entrepot.ledger.states import HELD, READY, UNFINISHED
from entrepot.store.ledger import holds, transactions

DISABLED = "disabled"
"""What the hold of a disabled client says for its detail; that of one that is not in the catalog says nothing."""

_t = transactions.c
_h = holds.c
_HOLD = ListStatement(
    _t.seq,
    lambda k: transactions.update().where(_t.seq.in_(select(k.c.v))).values(state=HELD, reason="client", due_at=null()),
)


def held_clients(connection: Connection) -> list[str]:
    """Return the clients whose work is held because the catalog does not have them."""
    return _clients(connection, _h.until.is_(None), _h.detail != DISABLED)


def disabled_clients(connection: Connection) -> list[str]:
    """Return the clients whose work is held because somebody disabled them."""
    return _clients(connection, _h.until.is_(None), _h.detail == DISABLED)


def waiting_clients(connection: Connection, partner: str) -> list[str]:
    """Return the clients that brought what waits of *partner*."""
    waiting = _t.state.in_(UNFINISHED)
    return list(connection.scalars(select(_t.client).where(_t.partner == partner, waiting).distinct()))


def begin_hold(connection: Connection, client: str, now: float, *, disabled: bool) -> None:
    """Hold what *client* will bring from now on, for this reason and no other."""
    connection.execute(holds.delete().where(_is(client)))
    row = {"upstream": client_name(client), "reason": "client", "detail": DISABLED if disabled else "", "since": now}
    connection.execute(holds.insert().values(row))


def hold_client(connection: Connection, client: str, now: float, limit: int = STEP, *, disabled: bool = False) -> int:
    """Hold what *client* will bring and *limit* of what waits of it; return how many were held, 0 when all are.

    What is left goes on until it is to be tried, and is held then. *disabled* is why, when it is not held yet.
    """
    if not _clients(connection, _h.until.is_(None), _is(client)):
        begin_hold(connection, client, now, disabled=disabled)
    waiting = select(_t.seq).where(of_waiting_partners(), _t.state.in_(READY), _t.client == client)
    found = connection.scalars(waiting.limit(limit).with_for_update()).all()
    _HOLD.run(connection, found)
    return len(found)


def release_client(
    connection: Connection, client: str, now: float, limit: int = STEP, *, disabled: bool = False
) -> int:
    """Let what *client* will bring go, and *limit* of what is held of it; return how many may go, 0 when all may.

    What is left is let go by ``release_rest``. Nothing goes when it is *disabled*, or not, other than said.
    """
    why = _h.detail == DISABLED if disabled else _h.detail != DISABLED
    return _release(connection, client, now, limit) if _clients(connection, _is(client), why) else 0


def release_rest(connection: Connection, now: float, limit: int) -> int:
    """Let go what is left of clients that were released, *limit* of each; return how many may go."""
    return sum(_release(connection, client, now, limit) for client in _clients(connection, _h.until.is_not(None)))


def _release(connection: Connection, client: str, now: float, limit: int) -> int:
    count = let_go(connection, and_(_t.client == client, _t.reason == "client"), now, limit)
    if count < limit:
        connection.execute(holds.delete().where(_is(client)))
    else:
        # As long as there is a rest, the hold stays on as one that has ended.
        connection.execute(holds.update().where(_is(client)).values(until=now))
    return count


def _clients(connection: Connection, *which: ColumnElement[bool]) -> list[str]:
    ours = _h.upstream.startswith(CLIENT_PREFIX, autoescape=True)
    names = connection.scalars(select(_h.upstream).where(ours, *which).order_by(_h.upstream))
    return [name.removeprefix(CLIENT_PREFIX) for name in names]


def _is(client: str) -> ColumnElement[bool]:
    return _h.upstream == client_name(client)
