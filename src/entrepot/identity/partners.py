"""Partners and their clients, as the catalog defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from entrepot.chassis.limits import Rate


@dataclass(frozen=True, slots=True)
class Quota:
    """How many requests may be made in each *day* of UTC."""

    day: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A rate and a quota that many clients have; each of them uses up its own."""

    name: str
    rate: Rate | None = None
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A program of a partner that may call the gateway; its name is unique in the catalog (the OAuth ``client_id``).

    Its own *rate* and *quota* stand before those of its *plan*. Only with *api_keys* may it use API keys.
    """

    name: str
    partner: str
    scopes: frozenset[str]
    rate: Rate | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    quota: Quota | None = None
    plan: str | None = None
    api_keys: bool = False


@dataclass(frozen=True, slots=True)
class Partner:
    """A company that trades through the gateway. *values* are what ``{partner.KEY}`` stands for in templates.

    At most *max_queued* of its writes, of *max_queued_bytes* together, wait to be delivered.
    """

    name: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    max_queued: int = 100_000
    max_queued_bytes: int = 1 << 30
