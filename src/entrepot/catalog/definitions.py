"""Endpoints and the whole catalog as frozen values: what a snapshot holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from entrepot.chassis.limits import Rate
from entrepot.connectors.base import CallMapping, ModelMapping, RelayMapping, Upstream
from entrepot.identity.partners import Client, Partner, Plan, Quota
from entrepot.ledger.retry import DEFAULT_RETRY, RetryPolicy

RESERVED_PATHS = ("/oauth/", "/.well-known/", "/docs", "/transactions", "/status", "/health/", "/metrics")


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long an answer is fresh, and how much longer it may be served when the upstream fails; seconds."""

    fresh_s: float
    stale_if_error_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A public path and what it does. Exactly one of *model*, *call*, *relay* is set.

    *read_scopes* and *write_scopes*: a token needs one of them; empty means no one may. *paths* is the path and its
    aliases; ``{name}`` stands for one segment, ``{name...}`` at the end for the rest.

    *write* is the write mode; *patience_s* is how long ``auto`` waits. *order*: followers wait for the same ``record``,
    ``partner``, ``endpoint``, ``field:NAME`` (a public field of the body), or for ``none``. *retry* is for deliveries.
    """

    name: str
    paths: tuple[str, ...]
    upstream: str
    read_scopes: tuple[str, ...] = ()
    write_scopes: tuple[str, ...] = ()
    rate: Rate | None = None
    cache: CachePolicy | None = None
    write: Literal["direct", "queue", "auto"] = "direct"
    patience_s: float = 2.0
    order: str = "record"
    idempotency: Literal["optional", "required"] = "optional"
    retry: RetryPolicy = DEFAULT_RETRY
    max_body_bytes: int = 1_048_576
    context: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    description: str = ""
    model: ModelMapping | None = None
    call: CallMapping | None = None
    relay: RelayMapping | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that one revision defines. *revision* is 0 before the first ``apply``."""

    revision: int = 0
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    partners: Mapping[str, Partner] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)

    def rate_of(self, client: Client) -> Rate | None:
        """Return the rate of *client*: its own, or its plan's."""
        return client.rate or (self.plans[client.plan].rate if client.plan else None)

    def quota_of(self, client: Client) -> Quota | None:
        """Return the quota of *client*: its own, or its plan's."""
        return client.quota or (self.plans[client.plan].quota if client.plan else None)
