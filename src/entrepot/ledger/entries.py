"""What goes into the ledger and comes out of it, as values. Nothing here knows a database.

Moments are seconds since 1970 (``time.time``).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from entrepot.ledger.states import QUEUED, Applied, Reason, State

Kind = Literal["create", "update", "delete", "call", "relay"]
Fault = Literal["record", "transient", "upstream"]
"""The class of a fault: about this record (dead at once), passing (tried again), or about the upstream (held)."""
Gone = Literal["room", "erased"]
Json = Any
LOST = "courier-lost"
WHY_LOST = "whoever tried it was lost before it could say what came of it"
CLIENT_PREFIX = "client:"
"""Begins the name under which a client is held; no upstream's name can."""


def new_id(now: float | None = None) -> str:
    """Return a new UUID of version 7 (RFC 9562, section 5.7): ordered by time, so that an index grows at its end."""
    stamp = int((time.time() if now is None else now) * 1000).to_bytes(6, "big")
    tail = bytearray(os.urandom(10))
    tail[0] = tail[0] & 0x0F | 0x70
    tail[2] = tail[2] & 0x3F | 0x80
    text = (stamp + tail).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class PlanText:
    """What an endpoint does, compiled: the text of ``catalog.plans`` and its SHA-256."""

    digest: str
    document: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """An ``Idempotency-Key`` on a write: *digest* of client, endpoint and key, *request* of what was asked.

    Who has it works on the request until *leased_until* at most; it is remembered until *expires_at*.
    """

    digest: str
    request: str
    leased_until: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What a partner may have waiting; beyond it a write is 429."""

    transactions: int = 100_000
    bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class NewTransaction:
    """Work that a partner wants delivered.

    *facts*: ``variables`` (path values by name), ``values`` (what the partner's templates stand for), ``fields`` (the
    header lines that a relay passes on), ``query``, ``path`` (of a create). *order_key* is what ``order`` of the
    endpoint says, as a digest; it goes behind what stands under *other_key*, as long as there is any. *state* is
    ``queued``, or ``waiting`` for a direct write that was tried and did not come to a good end; *tried* says what is
    known of that try and those before it; *due_at* is then later than now, and *memory* what the connector noted before
    it. What is under way, and a call or an update of unknown outcome, is not tried before *due_at* whatever happens:
    the upstream may be at work on it. *rest_s* is how long it may be so after a call whose worker was lost.
    """

    id: str
    partner: str
    client: str
    endpoint: str
    upstream: str
    kind: Kind
    operation_id: str
    plan: PlanText
    target: str
    facts: dict[str, Json]
    body: bytes
    order_key: str | None
    accepted_at: float
    expires_at: float
    due_at: float
    state: State = QUEUED
    applied: Applied = "no"
    reason: Reason | None = None
    memory: dict[str, Json] | None = None
    tried: tuple[Attempt, ...] = ()
    is_under_way: bool = False
    rest_s: float = 0.0
    other_key: str | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer of known outcome: *fields* are header lines, *body* is what stands in it.

    *gone* says why nothing but the status was kept: there was no room for more, or it was erased.
    """

    status: int
    fields: bytes = b""
    body: bytes = b""
    gone: Gone | None = None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One write, and *when* it goes into the ledger.

    ``always``: mode ``queue``. ``behind``: only if work that holds its followers has its ordering key, or it rests
    after a worker that was lost; else it may go directly (``GoOn``), and only its key is claimed: mode ``auto``.
    ``alone``: never, and it is refused where
    ``behind`` would queue it: a write on a condition. ``never``: only its key is claimed: mode ``direct``.
    ``handed-over``: it went directly, as this transaction, and did not come to an end in time; the key is
    its own already, and no quota stops it.
    """

    transaction: NewTransaction
    quota: Quota
    key: Claimed | None = None
    when: Literal["always", "behind", "alone", "never", "handed-over"] = "always"


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is in the ledger as transaction *id*, and on disk. *replayed*: by an earlier request with the same key.

    *state* is what it begins in, and *due_at* when it may be tried first; None: at once, or when it is released.
    *held_until* is when its upstream gets something again: infinity for nobody knows, None when it is not held.
    *head_due_at* is when what holds it back by its ordering key is tried next, None when nothing does; it is past, or
    0.0, when that is at work, and infinity when nobody knows. *ahead* is how many of its partner are not finished.
    """

    id: str
    replayed: bool = False
    state: State = QUEUED
    due_at: float | None = None
    held_until: float | None = None
    head_due_at: float | None = None
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class GoOn:
    """Nothing is in the way: the write may go directly, as transaction *id*.

    *again*: an earlier request with the same key began it and its outcome is not known; *memory* is what was noted.
    *leased_until* is when the lease of the key ends (Unix time), if it has one.
    """

    id: str
    again: bool = False
    memory: dict[str, Json] | None = None
    leased_until: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Replayed:
    """An earlier request with the same key was answered with this."""

    id: str
    answer: KeptAnswer


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not accepted: the key is of a request still in work, or of another request; or too much waits.

    Or it may not wait, and is ``behind`` others with its ordering key, or its upstream is ``held``: until *until*,
    infinity for nobody knows.
    """

    why: Literal["in-work", "mismatch", "too-many", "too-large", "behind", "held"]
    until: float | None = None


Admission = Accepted | GoOn | Replayed | Refused


@dataclass(frozen=True, slots=True)
class Lease:
    """A transaction leased to a courier until *until*. *token* fences: who does not name it changes nothing.

    Until *rests_until* the upstream may be at work on it, and it must not be tried. *is_suspect*: several couriers in a
    row were lost with it.
    """

    seq: int
    id: str
    token: str
    until: float
    partner: str
    client: str
    endpoint: str
    upstream: str
    kind: Kind
    operation_id: str
    plan: PlanText
    facts: dict[str, Json]
    body: bytes
    accepted_at: float
    expires_at: float
    applied: Applied
    attempts: int
    memory: dict[str, Json] | None = None
    rests_until: float = 0.0
    is_suspect: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, for the record. *outcome* is ``delivered`` or the class of the fault.

    *number* is its place among the tries of its transaction, from 1; 0 until it stands in the ledger.
    """

    courier: str
    started_at: float
    ended_at: float
    outcome: Literal["delivered", "record", "transient", "upstream"]
    status: int
    code: str = ""
    detail: str = ""
    number: int = 0


def lost_try(id_: str, ended_at: float) -> Attempt:
    """Return the first try of the transaction *id_*, of which nobody can say what came; it was given up at *ended_at*.

    It began when the id was made: see ``new_id``.
    """
    started_at = min(int(id_.replace("-", "")[:12], 16) / 1000, ended_at)
    return Attempt("", started_at, ended_at, "transient", 503, LOST, WHY_LOST)


@dataclass(frozen=True, slots=True)
class Head:
    """The unfinished or dead transaction that another one waits for, and when it is tried itself, if that is known."""

    id: str
    partner: str
    state: State
    applied: Applied
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """A transaction as its partner or an operator sees it. *follows* is what it waits for, if it does.

    *held_until* is when its upstream gets something again: infinity for nobody knows, None when it was never held.
    *ahead* is how many more of its partner are not finished there.
    """

    id: str
    partner: str
    client: str
    endpoint: str
    upstream: str
    kind: Kind
    operation_id: str
    target: str
    state: State
    applied: Applied
    reason: Reason | None
    accepted_at: float
    due_at: float | None
    finished_at: float | None
    attempts: int
    answer: KeptAnswer | None
    problem: dict[str, Json] | None
    tries: tuple[Attempt, ...] = ()
    follows: Head | None = None
    held_until: float | None = None
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a direct write that was handed over meanwhile, as this transaction.

    *attempt* is the try that was handed over with it, to be repeated from *due_at* on, as it ended. *answer* None: it
    came to no good end. *again_at* is when it may be tried again of which it is sure that nothing was applied.
    """

    id: str
    attempt: Attempt
    answer: KeptAnswer | None = None
    due_at: float = 0.0
    again_at: float | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of a lease: the new *state* and what is known of it.

    *attempt* None: it was given back untried, and counts as no attempt. *due_at* goes with ``waiting`` and ``queued``.
    Until *rests_until* the upstream may be at work on it, whatever makes it due before; None: what was known of that
    stays.
    """

    seq: int
    token: str
    state: State
    applied: Applied
    attempt: Attempt | None = None
    due_at: float | None = None
    reason: Reason | None = None
    answer: KeptAnswer | None = None
    problem: dict[str, Json] | None = None
    rests_until: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many transactions of *client* that came by *endpoint* are accepted and not finished at *upstream*."""

    client: str
    endpoint: str
    upstream: str
    count: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits at one upstream: *unfinished* and *bytes* altogether, *oldest* is when the first was accepted."""

    upstream: str
    unfinished: int
    bytes: int
    oldest: float | None
    states: dict[State, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerOf:
    """What came of the request whose key has *digest*, however late it is."""

    digest: str
    answer: KeptAnswer


@dataclass(frozen=True, slots=True)
class LeaseOf:
    """The call for the request whose key has *digest* has ended without an answer that is kept.

    Whoever repeats the request may go on with it from *until* on; None: nothing came of it, and the key is free again.
    *leased_until* tells the lease of the key from that of whoever has it after that.
    """

    digest: str
    leased_until: float
    until: float | None


@dataclass(frozen=True, slots=True)
class MemoryOf:
    """What the connector noted before the first try of the request whose key has *digest*.

    *leased_until* tells the lease of the key from that of whoever has it after that.
    """

    digest: str
    leased_until: float
    memory: dict[str, Json]


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Up to *limit* transactions of *upstream* for *courier*, leased for *lease_s*; the partner *after* comes last."""

    upstream: str
    limit: int
    courier: str
    lease_s: float
    after: str = ""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that is to last until *until*."""

    seq: int
    token: str
    until: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What the connector noted before the first try of a leased transaction.

    It is sent now, and the upstream may be at work on it until *rests_until*; None: that does not matter.
    """

    seq: int
    token: str
    memory: dict[str, Json]
    rests_until: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """*upstream* (``*``: every one, ``client:NAME``: that client) is held until *until*; None: until it is released."""

    upstream: str
    reason: str
    detail: str
    since: float
    until: float | None

    @property
    def client(self) -> str | None:
        """The client whose work it holds; None: it holds an upstream, or all."""
        return self.upstream[len(CLIENT_PREFIX) :] if self.upstream.startswith(CLIENT_PREFIX) else None

    def is_over(self, now: float) -> bool:
        """Tell whether it has ended by itself."""
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True)
class Filters:
    """Which transactions are listed; None and empty stand for any.

    *after* is the id of the last one of the page before this. Newest first, unless *oldest_first*. *accepted_from*
    and *accepted_to* bound the moment of acceptance.
    """

    partner: str | None = None
    client: str | None = None
    endpoint: str | None = None
    upstream: str | None = None
    states: tuple[State, ...] = ()
    accepted_from: float | None = None
    accepted_to: float | None = None
    after: str | None = None
    oldest_first: bool = False
    limit: int = 25
