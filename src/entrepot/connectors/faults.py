"""The class of a fault: whether a write that failed is tried again, and whether it was carried out all the same."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, TypeVar

from entrepot.chassis.errors import Applied, Error
from entrepot.errors import (
    SettingsError,
    UpstreamBadAnswer,
    UpstreamMisconfigured,
    UpstreamTimeout,
    UpstreamUnavailable,
)

Kind = Literal["record", "transient", "upstream"]
_AnyError = TypeVar("_AnyError", bound=Error)


class UpstreamStumbled(UpstreamBadAnswer):
    """The upstream's own program failed on this record: a mistake in it, which other records need not meet."""


class OutOfReach(UpstreamMisconfigured):
    """The gateway's account or its catalog does not fit this record or this partner; others need not meet it."""


@dataclass(frozen=True, slots=True)
class FaultClass:
    """What a fault means for the write that met it.

    *kind*: about this ``record`` (another try would fail too), ``transient`` (try again, not before *retry_after_s*),
    or about the whole ``upstream``. *applied* is about the transaction with all its tries, as far as the connector was
    told of them (``Caller.earlier``): ``no`` and ``yes`` are sure. With ``yes`` only the result could not be had.
    """

    kind: Kind
    applied: Applied
    retry_after_s: float | None = None


def fault_of(error: Error) -> FaultClass:
    """Return the class of *error*, as a connector or a link raised it for a write."""
    applied = _assumed(error) if error.applied is None else error.applied
    return FaultClass(_kind(error, applied), applied, error.retry_after_s)


def unsent(error: _AnyError) -> _AnyError:
    """Return a copy of *error* that says that nothing has been applied: whoever shares *error* may say otherwise."""
    told = copy.copy(error)
    told.applied = "no"
    told.__cause__ = error.__cause__
    return told


def _kind(error: Error, applied: Applied) -> Kind:
    if error.retryable:
        return "transient"
    if isinstance(error, UpstreamStumbled | OutOfReach):
        return "record"
    if isinstance(error, UpstreamMisconfigured | SettingsError):
        return "upstream"
    # Something else than Odoo answers while it is deployed. What has been applied is not answered better next time.
    return "transient" if isinstance(error, UpstreamBadAnswer) and applied != "yes" else "record"


def _assumed(error: Error) -> Applied:
    lost = isinstance(error, UpstreamTimeout | UpstreamUnavailable | UpstreamBadAnswer)
    return "unknown" if lost else "no"
