"""Writes that are delivered from the ledger: those of relays whole, what their answers mean, and where records are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from entrepot.chassis.errors import Applied, Error
from entrepot.connectors.base import Json
from entrepot.connectors.faults import FaultClass, Kind
from entrepot.connectors.http import Relay, key_line, returned_fields
from entrepot.errors import UpstreamMisconfigured, UpstreamRejected, UpstreamUnavailable

MAX_DIGITS = 10
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# The answer is kept for later, and read by others than those who could take these.
_NOT_DELIVERED = frozenset({b"accept-encoding", b"range", b"if-range"})
_OWN_ACCOUNT = frozenset({401, 403, 407})
_PASSING = frozenset({408, 425, 429})
_ERRORS: dict[Kind, type[Error]] = {
    "record": UpstreamRejected, "transient": UpstreamUnavailable, "upstream": UpstreamMisconfigured
}  # fmt: skip
# These two say that nothing was done; after the others of 3xx the work may be done, and its result elsewhere.
_SENT_ELSEWHERE = frozenset({307, 308})


@dataclass(frozen=True, slots=True)
class RelayWrite:
    """A write as a partner sent it to a relay endpoint.

    *variables* are the values of the endpoint's path by name, *query* the query, both checked and still encoded;
    *fields* are the partner's header lines. *values* are those of the partner that the relay's path may name.
    """

    method: str
    variables: Mapping[str, str]
    query: str
    fields: bytes
    body: bytes
    values: Mapping[str, Json]
    transaction_id: str
    operation_id: str


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    """A whole answer: *fields* are the header lines that are a caller's to see."""

    status: int
    fields: bytes
    body: bytes


async def deliver(relay: Relay, write: RelayWrite, *, deadline: float) -> RelayAnswer:
    """Send *write* once, with its transaction as ``Idempotency-Key``, and return the upstream's answer, whatever it is.

    The answer has ``link.MAX_ANSWER_BYTES`` at most. *deadline* is a ``time.monotonic`` moment. Raises OutOfReach and
    what ``Link.fetch`` raises; ``fault_of`` gives the class. *relay* was made with the names of ``write.variables``.
    """
    values = tuple(write.variables[name].encode("ascii") for name in relay.variables)
    own = b"x-request-id: %b\r\n" % write.operation_id.encode("ascii") + key_line(write.transaction_id)
    head = relay.head(
        write.method.encode("ascii"),
        relay.target(values, write.query.encode("ascii"), write.values),
        relay.sent(_delivered(write.fields)),
        own=own,
        length=len(write.body) if write.body or write.method in _WITH_BODY else None,
        chunked=False,
    )
    reply = await relay.link.fetch(head, write.body, deadline=deadline)
    return RelayAnswer(reply.status, returned_fields(list(reply.headers)), reply.body)


def location(path: bytes, key: Json) -> bytes:
    """Return the header line that says where a record is: *path* is what it was created at, *key* its own there."""
    return b"location: %b/%b\r\n" % (path.rstrip(b"/"), quote(str(key), safe="").encode("ascii"))


def answer_fault(status: int, fields: bytes, *, again: bool = False) -> FaultClass | None:
    """Return the class of the fault that an answer tells of, None for 2xx. *fields* are its header lines.

    *again*: the outcome of an earlier try is not known, so a refusal proves nothing about it; 409 may be about the
    earlier try itself, which is still in work (Idempotency-Key, draft-07, section 2.7). What the upstream may have done
    before it answered 3xx or 5xx is not known either.
    """
    if 200 <= status < 300:
        return None
    if again and status == 409:
        return FaultClass("transient", "unknown", retry_after_s(fields))
    kind, applied = _meaning(status)
    return FaultClass(kind, "unknown" if again else applied, retry_after_s(fields) if kind == "transient" else None)


def answer_error(upstream: str, status: int, fault: FaultClass) -> Error:
    """Return the error that stands for an answer of *upstream* that tells of *fault*."""
    error = _ERRORS[fault.kind](f"{upstream} answered with {status}", retry_after_s=fault.retry_after_s)
    error.applied = fault.applied
    return error


def refused_alone(error: Error) -> Error:
    """Return what *error*, a refusal of the gateway's account, means for one write while others like it are taken."""
    told = UpstreamUnavailable(f"{error}, though it takes others")
    told.applied = error.applied
    return told


def retry_after_s(fields: bytes) -> float | None:
    """Return the wait that ``Retry-After`` in the header lines *fields* asks for, None when it asks for none.

    It is a number of seconds or a date (RFC 9110, section 10.2.3).
    """
    said = _by_name(fields).get(b"retry-after", b"").decode("latin-1").strip()
    if said.isascii() and said.isdigit():
        return float(said[:MAX_DIGITS])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _meaning(status: int) -> tuple[Kind, Applied]:
    if status >= 500:
        return "transient", "unknown"
    if status in _PASSING:
        return "transient", "no"
    if status in _OWN_ACCOUNT:
        return "upstream", "no"
    return "record", "no" if status >= 400 or status in _SENT_ELSEWHERE else "unknown"


def _delivered(fields: bytes) -> dict[bytes, bytes]:
    return {name: value for name, value in _by_name(fields).items() if name not in _NOT_DELIVERED}


def _by_name(fields: bytes) -> dict[bytes, bytes]:
    lines = [line.partition(b":") for line in fields.split(b"\r\n") if line]
    return {name.lower(): value.strip() for name, _, value in lines}
