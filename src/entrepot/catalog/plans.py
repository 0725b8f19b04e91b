"""What accepted work is to do: the part of an endpoint that its delivery needs, as it was at acceptance.

URL, login, secret and limits are not part of it: they come from the catalog of the day of delivery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from entrepot.catalog.codec import decode, encode
from entrepot.catalog.definitions import Endpoint
from entrepot.chassis.errors import Error
from entrepot.connectors.base import CallMapping, ModelMapping, RelayMapping
from entrepot.errors import UpstreamTimeout
from entrepot.ledger.entries import PlanText
from entrepot.ledger.retry import DEFAULT_RETRY, RetryPolicy


@dataclass(frozen=True, slots=True)
class Plan:
    """One operation of an endpoint. Exactly one of *model*, *call* and *relay* is set, as *kind* says.

    *variables* names the values of the path, in order.
    """

    endpoint: str
    upstream: str
    kind: str
    method: str
    variables: tuple[str, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    retry: RetryPolicy = DEFAULT_RETRY
    model: ModelMapping | None = None
    call: CallMapping | None = None
    relay: RelayMapping | None = None

    @property
    def is_guarded(self) -> bool:
        """Whether it is a call with a guard, which is true only once the call is done."""
        return self.call is not None and self.call.guard is not None

    @property
    def makes_lines(self) -> bool:
        """Whether it is an update that may make lines: made twice, they are there twice."""
        return self.kind == "update" and self.model is not None and any(each.fields for each in self.model.fields)

    @property
    def rests(self) -> bool:
        """Whether it must not be looked at or sent again while the upstream may be at work on it."""
        return self.is_guarded or self.kind == "update"

    def may_be_at_work(self, error: Error | None) -> bool:
        """Tell whether the upstream may be at work on it after *error*, so that to repeat it now could double it.

        A create is safe by its external id. Without an *error* nothing was heard at all.
        """
        is_lost = self.kind == "update" and isinstance(error, UpstreamTimeout | None)
        return self.is_guarded or self.makes_lines or is_lost

    def text(self) -> PlanText:
        """Return the plan as text, with its digest."""
        document = orjson.dumps(encode(self), option=orjson.OPT_SORT_KEYS)
        return PlanText(hashlib.sha256(document).hexdigest(), document.decode())


def plan_of(endpoint: Endpoint, kind: str, method: str, variables: tuple[str, ...]) -> Plan:
    """Return what *endpoint* does for *method* at a path with *variables*."""
    return Plan(
        endpoint=endpoint.name, upstream=endpoint.upstream, kind=kind, method=method, variables=variables,
        context=endpoint.context, retry=endpoint.retry, model=endpoint.model, call=endpoint.call, relay=endpoint.relay,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def plan_from(text: PlanText) -> Plan:
    """Return the plan that *text* is of. Raises ValueError when this release does not understand it."""
    try:
        return decode(Plan, orjson.loads(text.document))
    except (TypeError, AttributeError, ValueError) as exc:
        raise ValueError(f"the plan {text.digest} cannot be read: {exc}") from exc
