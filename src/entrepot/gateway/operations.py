"""What one method at one path does, prepared as far as a snapshot allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import jsonschema_rs

from entrepot.catalog.definitions import CachePolicy, Endpoint
from entrepot.catalog.schemas import compile_schema
from entrepot.chassis.limits import Bucket, DayQuota
from entrepot.chassis.metrics import Histogram
from entrepot.connectors.base import Json
from entrepot.connectors.link import Link
from entrepot.gateway.rules import WriteRule
from entrepot.identity.partners import Client, Partner
from entrepot.ledger.entries import Quota

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

LATER: Any = None
"""What an exchange's operation, claims and principal are before their stage has passed."""

Kind = Literal["list", "read", "create", "update", "delete", "call", "relay"]


@dataclass(slots=True, eq=False)
class Operation:
    """One method of one endpoint.

    *act* calls the upstream. *variables* names the values of the path template, in order.

    *rule* is what a write does; None for reads.

    *schema* makes what the JSON body must fulfil; None means that the body is not looked at. *own_names* are the
    values of the caller that an answer depends on. *ends* names the endpoints whose kept answers a write here may
    make wrong. *negotiated* names the request fields that an upstream chooses the answer by. *durations* is the
    histogram of each method and status, filled as they occur.
    """

    endpoint: Endpoint
    kind: Kind
    variables: tuple[str, ...]
    scopes: frozenset[str]
    link: Link
    act: Callable[[Exchange], None]
    rule: WriteRule | None = None
    bucket: Bucket | None = None
    cache: CachePolicy | None = None
    schema: Callable[[], Json] | None = None
    own_names: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    negotiated: tuple[bytes, ...] = ()
    durations: dict[tuple[bytes, int], Histogram] = field(default_factory=dict)

    log_name: bytes = field(init=False)
    max_body_bytes: int = field(init=False)
    _validator: jsonschema_rs.Draft202012Validator | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.log_name = self.endpoint.name.encode("ascii", "replace")
        self.max_body_bytes = self.endpoint.max_body_bytes

    @property
    def validator(self) -> jsonschema_rs.Draft202012Validator:
        """The compiled schema. Made when it is first wanted: of thousands of endpoints few are written to."""
        if self._validator is None:
            if self.schema is None:
                raise ValueError(f"{self.endpoint.name} takes no JSON body")
            self._validator = compile_schema(self.schema())
        return self._validator


@dataclass(slots=True, eq=False)
class Place:
    """What stands at a path: an operation for each method."""

    operations: dict[bytes, Operation]
    allow: str


@dataclass(slots=True, eq=False)
class Principal:
    """A client of the snapshot with its partner; *values* are those of its templates.

    *bucket* is its rate, *day* its daily quota; *quota* is what its partner may have waiting.
    """

    client: Client
    partner: Partner
    values: dict[str, Any]
    bucket: Bucket | None = None
    day: DayQuota | None = None

    log_name: bytes = field(init=False)
    log_partner: bytes = field(init=False)
    quota: Quota = field(init=False)

    def __post_init__(self) -> None:
        self.log_name = self.client.name.encode("ascii", "replace")
        self.log_partner = self.partner.name.encode("ascii", "replace")
        self.quota = Quota(self.partner.max_queued, self.partner.max_queued_bytes)
