"""What an operation that writes does with a write, prepared as far as a snapshot allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.plans import plan_of
from entrepot.connectors.base import Caller, Json, Upstream
from entrepot.gateway.answers import Answer
from entrepot.gateway.ordering import Order, order_of
from entrepot.ledger.entries import Kind, PlanText

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Work = Callable[["Exchange", Caller], Awaitable[Answer]]


@dataclass(slots=True, eq=False)
class WriteRule:
    """One operation that writes.

    *work* calls the upstream and returns the whole answer. *check* raises what can be found wrong with a request before
    it is accepted. *facts* returns what a courier needs of it beside the body and the partner's values.
    """

    endpoint: Endpoint
    upstream: Upstream
    kind: Kind
    method: str
    variables: tuple[str, ...]
    work: Work
    check: Callable[[Exchange], None]
    facts: Callable[[Exchange], dict[str, Json]]

    mode: str = field(init=False)
    needs_key: bool = field(init=False)
    is_guarded: bool = field(init=False)
    rests: bool = field(init=False)
    makes_lines: bool = field(init=False)
    _order: Order | None = field(init=False, default=None)
    _plan: PlanText | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.mode = self.endpoint.write
        self.needs_key = self.endpoint.idempotency == "required"
        self.is_guarded = self.endpoint.call is not None and self.endpoint.call.guard is not None
        # What the upstream may still be at work on must not be looked at or sent again before it has settled.
        self.rests = self.is_guarded or self.kind == "update"
        model = self.endpoint.model
        self.makes_lines = self.kind == "update" and model is not None and any(each.fields for each in model.fields)

    # Both are made when they are first wanted: of thousands of endpoints few are written to.

    @property
    def order(self) -> Order:
        """What gives the ordering key of a request."""
        if self._order is None:
            self._order = order_of(self.endpoint, self.kind, self.variables)
        return self._order

    @property
    def plan(self) -> PlanText:
        """What is to be done, as text."""
        if self._plan is None:
            self._plan = plan_of(self.endpoint, self.kind, self.method, self.variables).text()
        return self._plan
