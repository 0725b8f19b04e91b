"""dispatch: call the upstream and answer with what it says. 200… 502 503 504.

A relay goes by callbacks alone (``gateway.relay``); work on records of Odoo takes several calls and runs as a task
(``gateway.records``). A write that the ledger has a part in goes its own way (``gateway.writes``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange


def dispatch(exchange: Exchange) -> bool:
    """Hand the exchange to its upstream; the answer comes later."""
    exchange.dispatched = True
    if exchange.write is None:
        exchange.operation.act(exchange)
    else:
        exchange.write.start()
    return True
