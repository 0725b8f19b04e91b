"""What an operation that writes does with a write, prepared as far as a snapshot allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.plans import Plan, plan_of
from entrepot.connectors.base import Caller, Json, Upstream
from entrepot.gateway.answers import Answer
from entrepot.gateway.ordering import Order, Subject, order_of, other_order_of
from entrepot.ledger.entries import Kind, PlanText

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

Work = Callable[["Exchange", Caller], Awaitable[Answer]]


@dataclass(slots=True, eq=False)
class WriteRule:
    """One operation that writes.

    *work* calls the upstream and returns the whole answer. *check* raises what can be found wrong with a request before
    it is accepted. *facts* returns what a courier needs of it beside the body and the partner's values. *shared* are
    the subjects whose records any caller may reach.
    """

    endpoint: Endpoint
    upstream: Upstream
    kind: Kind
    method: str
    variables: tuple[str, ...]
    work: Work
    check: Callable[[Exchange], None]
    facts: Callable[[Exchange], dict[str, Json]]
    shared: frozenset[Subject]

    mode: str = field(init=False)
    needs_key: bool = field(init=False)
    plan: Plan = field(init=False)
    _order: Order | None = field(init=False, default=None)
    _other_order: Order | None = field(init=False, default=None)
    _plan_text: PlanText | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.mode = self.endpoint.write
        self.needs_key = self.endpoint.idempotency == "required"
        self.plan = plan_of(self.endpoint, self.kind, self.method, self.variables)

    @property
    def rest_s(self) -> float:
        """How long after a call that was lost nothing may be sent again."""
        return self.upstream.settle_s if self.plan.rests else 0.0

    # All are made when they are first wanted: of thousands of endpoints few are written to.

    @property
    def order(self) -> Order:
        """What gives the ordering key of a request."""
        if self._order is None:
            self._order = order_of(self.endpoint, self.kind, self.variables, self.shared)
        return self._order

    @property
    def other_order(self) -> Order:
        """What gives the ordering key that the same record had before other endpoints came or went."""
        if self._other_order is None:
            self._other_order = other_order_of(self.endpoint, self.kind, self.variables, self.shared)
        return self._other_order

    @property
    def plan_text(self) -> PlanText:
        """What is to be done, as text."""
        if self._plan_text is None:
            self._plan_text = self.plan.text()
        return self._plan_text
