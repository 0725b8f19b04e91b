"""The stages of a request, in their order; it stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from entrepot.gateway.stages.authenticate import authenticate
from entrepot.gateway.stages.authorize import authorize, check_network
from entrepot.gateway.stages.cache import cache
from entrepot.gateway.stages.dispatch import dispatch
from entrepot.gateway.stages.limit import limit, limit_client
from entrepot.gateway.stages.match import match
from entrepot.gateway.stages.validate import validate
from entrepot.gateway.transactions import transactions

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Stage = Callable[["Exchange"], bool | None]

PIPELINE: tuple[Stage, ...] = (match, authenticate, authorize, limit, validate, cache, dispatch)
# Who was revoked or shut out while the body came is not let in any more. The limits have been taken from already.
AFTER_BODY: tuple[Stage, ...] = (authenticate, authorize, *PIPELINE[PIPELINE.index(validate) :])
TRANSACTIONS: tuple[Stage, ...] = (authenticate, check_network, limit_client, transactions)
