"""What the gateway asks of any upstream, and the values that say what an endpoint does there.

These values are made by the catalog, which checks them, and travel inside a snapshot. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from entrepot.errors import UpstreamUnavailable

Json = Any
Domain = Sequence[Any]
Operation = Literal["list", "read", "create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """After *failures* in a row the upstream is left alone for *open_s* seconds; then one probe at a time goes."""

    failures: int = 5
    open_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """How an upstream is asked whether it is well: GET *path* (None: Odoo's ``common.version``) every *every_s*."""

    path: str | None = None
    every_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Auth:
    """The gateway's credential at an HTTP upstream; *secret* and *password* name a place, not a value.

    ``bearer``: *secret*. ``basic``: *user* and *secret*. ``header``: the field *name* gets *secret*.
    """

    kind: Literal["bearer", "basic", "header"]
    secret: str
    user: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A system behind the gateway, as the catalog defines it. Times in seconds.

    *concurrency* counts calls in flight on this host altogether; *waiting* more may wait for a place, each *wait_s*.
    *secret* (Odoo) names a place: ``file:PATH``, ``env:NAME`` or ``credential:NAME``. *settle_s* is how long it may
    still be at work on a call whose answer did not come.
    """

    name: str
    kind: Literal["odoo", "http"]
    url: str
    timeout_s: float = 20.0
    connect_timeout_s: float = 3.0
    concurrency: int = 256
    waiting: int = 256
    wait_s: float = 2.0
    breaker: BreakerPolicy = BreakerPolicy()
    ca: str | None = None
    verify: bool = True
    probe: Probe | None = None
    database: str = ""
    login: str = ""
    secret: str = ""
    protocol: str = "auto"
    context: Mapping[str, Json] = field(default_factory=dict)
    auth: Auth | None = None
    headers: tuple[tuple[str, str], ...] = ()
    settle_s: float = 130.0


@dataclass(frozen=True, slots=True)
class Field:
    """One public field of a model endpoint, or of its one2many lines.

    *source* is the dotted Odoo path split at the dots: ``("name",)``, or ``("country_id", "code")`` for a relation by
    its natural key. *relation* is the comodel of ``source[0]`` when that is a relation. *type* is Odoo's field type of
    the last step (``char text html integer float monetary boolean date datetime selection many2one one2many
    many2many binary reference``), from the live Odoo or from ``type:``. *choices* are the values of a selection.
    *fields* are those of the lines of a one2many. *default* counts only when *has_default*.
    """

    public: str
    source: tuple[str, ...]
    type: str = "char"
    relation: str | None = None
    required: bool = False
    read_only: bool = False
    write_only: bool = False
    private: bool = False
    max_length: int | None = None
    enum: tuple[Json, ...] | None = None
    choices: tuple[str, ...] | None = None
    has_default: bool = False
    default: Json = None
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelMapping:
    """A model resource: which records of *model* (``where``), which fields, and what may be done with them.

    *where* is an Odoo domain whose strings may hold templates ``{partner.KEY}``, ``{client}``, ``{path value}``;
    *set* are values (Odoo's field names) forced on create and update, templates too. *key* is a public field name, or
    ``id``. *sort* and *search* name public fields.
    """

    model: str
    fields: tuple[Field, ...]
    operations: tuple[Operation, ...] = ("list", "read")
    where: Domain = ()
    set: Mapping[str, Json] = field(default_factory=dict)
    key: str = "id"
    search: tuple[str, ...] = ()
    sort: tuple[str, ...] = ("id",)
    page_default: int = 25
    page_max: int = 100


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call: a *template*, or a field of the body.

    *type* is that of the field: ``string integer number boolean array object date datetime``. It is *required* unless
    it has a default.
    """

    name: str
    template: Json = None
    body_field: str | None = None
    type: str = "string"
    required: bool = True
    has_default: bool = False
    default: Json = None


@dataclass(frozen=True, slots=True)
class CallMapping:
    """A call of ``model.method`` on the record ``{id}``, or on the model when the path has no ``{id}``.

    *key* is Odoo's field name that ``{id}`` is a value of. *result* maps public names to keys of the result; None
    passes the bare result on. *guard* is a domain that is true of the record once the call has been applied; None:
    there is no telling.
    """

    model: str
    method: str
    http_method: str = "POST"
    where: Domain = ()
    key: str = "id"
    arguments: tuple[Argument, ...] = ()
    result: Mapping[str, str] | None = None
    guard: Domain | None = None


@dataclass(frozen=True, slots=True)
class RelayMapping:
    """A relay to *path* of an HTTP upstream; ``{rest}`` and other path values are put into *path*.

    *schema* is a JSON Schema 2020-12 that the body must fulfil, or None.
    """

    path: str
    methods: tuple[str, ...]
    add_headers: tuple[tuple[str, str], ...] = ()
    drop_headers: tuple[str, ...] = ()
    schema: Json = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier try of the same transaction, whose outcome is not known.

    *memory* is what it noted by ``Caller.remember`` before it sent anything; empty: it sent nothing, or noted nothing.
    A change that must not go on in the upstream while it is repeated (an update, a call) is repeated only when
    ``Upstream.settle_s`` have passed.
    """

    memory: Mapping[str, Json] = field(default_factory=dict)


Remember = Callable[[Mapping[str, Json]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as a connector needs to know: template values and what is sent on.

    *values* maps template names to values: ``partner.KEY``, ``client``, and the path values of the endpoint.
    *context* is the endpoint's own, to be merged over the upstream's. *deadline* is a ``time.monotonic`` moment.
    *transaction_id* names the write: it is part of the external id of a record made by it. *earlier* is the try before
    this one, if its outcome is not known. *remember* keeps facts (JSON) durably until the transaction is finished, and
    is awaited before anything is sent; without it an update that is repeated may undo what others did meanwhile.
    """

    operation_id: str
    transaction_id: str
    deadline: float
    values: Mapping[str, Json] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)
    earlier: Earlier | None = None
    remember: Remember | None = None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list is asked for.

    *filters* are ``(public field, operator, value)`` with the operators ``= != < <= > >= in like``. *sort* is
    ``(public field, descending)``. *fields* are public names, None for all that a list shows. *limit* records are
    wanted from *offset* on.
    """

    filters: tuple[tuple[str, str, Json], ...] = ()
    search: str | None = None
    sort: tuple[tuple[str, bool], ...] = ()
    fields: tuple[str, ...] | None = None
    limit: int = 25
    offset: int = 0
    total: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Records of a list in their public shape; *has_next* when more follow; *total* only when asked for."""

    records: list[dict[str, Json]]
    has_next: bool
    total: int | None = None


class HttpReply(Protocol):
    """A whole answer of an upstream."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Withdrawn(UpstreamUnavailable):
    """The request had become void while it waited for a place, and was not sent."""


class Post(Protocol):
    """Send one POST to the upstream and await its whole answer.

    Raises UpstreamUnavailable, UpstreamTimeout or UpstreamBusy. *path* is appended to the upstream's base URL.
    *is_void* is asked when the request has a place: one that is void by then is not sent, and Withdrawn is raised.
    """

    async def __call__(
        self,
        path: str,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        deadline: float,
        is_void: Callable[[], bool] | None = None,
    ) -> HttpReply:
        """Return the upstream's answer, whatever its status."""


class RecordConnector(Protocol):
    """What the gateway asks of an upstream that holds records (Odoo), whatever its wire.

    Every operation keeps to the mapping's ``where``; a record outside it raises RecordNotFound.
    """

    kind: ClassVar[str]

    async def list(self, mapping: ModelMapping, query: ListQuery, caller: Caller) -> Page:
        """Return a page of records."""

    async def read(self, mapping: ModelMapping, key: str, caller: Caller) -> dict[str, Json]:
        """Return the record whose key field is *key*."""

    async def create(self, mapping: ModelMapping, record: Mapping[str, Json], caller: Caller) -> dict[str, Json]:
        """Make a record and return it as read."""

    async def update(
        self,
        mapping: ModelMapping,
        key: str,
        changes: Mapping[str, Json],
        caller: Caller,
        *,
        if_match: str | None = None,
    ) -> dict[str, Json]:
        """Change the record and return it as read; *if_match* is an ETag that the record as read must have first."""

    async def delete(self, mapping: ModelMapping, key: str, caller: Caller, *, if_match: str | None = None) -> None:
        """Delete the record; *if_match* is an ETag that it must have first."""

    async def call(self, mapping: CallMapping, key: str | None, body: Mapping[str, Json], caller: Caller) -> Json:
        """Call the method and return its result as JSON."""

    async def field_types(self, model: str, *, deadline: float) -> dict[str, dict[str, Json]]:
        """Return ``fields_get`` of *model*: name → ``{type, required, readonly, relation?, selection?}``."""

    async def probe(self, *, deadline: float) -> None:
        """Return when the upstream is well; raise an UpstreamError otherwise."""
