"""Every error of Entrepot and its stable code, one tree.

::

    Error                             500 internal-error
    ├── InputError
    │   ├── BadRequest                400 bad-request
    │   │   ├── MalformedJson         400 malformed-json
    │   │   └── UnknownParameter      400 unknown-parameter
    │   ├── RequestTimeout            408 request-timeout
    │   ├── BodyTooLarge              413 body-too-large
    │   ├── TargetTooLong             414 target-too-long
    │   ├── UnsupportedMediaType      415 unsupported-media-type
    │   ├── InvalidBody               422 invalid-body
    │   ├── IdempotencyMismatch       422 idempotency-mismatch    the key is of another request
    │   ├── HeadersTooLarge           431 headers-too-large
    │   ├── NotImplementedHere        501 not-implemented
    │   └── HttpVersionNotSupported   505 http-version-not-supported
    ├── InvalidToken                  401 invalid-token
    ├── NotSignedIn                   401 not-signed-in           no operator, or no more
    ├── SignInFailed                  401 sign-in-failed          name or password of an operator
    ├── Forbidden                     403 forbidden
    │   ├── InsufficientScope         403 insufficient-scope
    │   ├── InsufficientRole          403 insufficient-role       the operator may not do this
    │   └── ForeignOrigin             403 foreign-origin          another site made the operator's browser ask
    ├── NotFound                      404 not-found
    │   └── RecordNotFound            404 record-not-found
    ├── MethodNotAllowed              405 method-not-allowed
    ├── Conflict                      409 conflict
    │   ├── CallerDisabled            409 caller-disabled         an operator has shut the client out
    │   ├── OutcomeUnclear            409 outcome-unclear         whether a change was made cannot be found out
    │   ├── IdempotencyInWork         409 idempotency-in-work     the first request with the key has no answer yet
    │   └── TransactionSent           409 transaction-sent        too late to cancel
    ├── AnswerGone                    410 answer-gone             a refusal that is to be repeated was not kept
    ├── PreconditionFailed            412 precondition-failed
    ├── TooManyRequests               429 too-many-requests
    │   └── TooMuchQueued             429 too-much-queued         the partner has too much waiting
    ├── UpstreamError
    │   ├── UpstreamRejected          422 upstream-rejected       the record breaks a rule of the upstream
    │   ├── UpstreamMisconfigured     502 upstream-misconfigured  account or catalog, never the partner's fault
    │   ├── UpstreamBadAnswer         502 upstream-bad-answer
    │   ├── UpstreamUnavailable       503 upstream-unavailable    refused, broken off, breaker open
    │   ├── UpstreamBusy              503 upstream-busy           no place within ``wait``
    │   └── UpstreamTimeout           504 upstream-timeout
    ├── StoreUnavailable              503 store-unavailable
    ├── NotReady                      503 not-ready               no catalog is in force yet
    ├── SettingsError                 -   settings                settings files, not a request
    └── CatalogError                  -   catalog                 catalog files, not a request
"""

from __future__ import annotations

from entrepot.chassis.errors import Error


class InputError(Error):
    """The request itself is at fault."""

    code, status, title = "bad-request", 400, "The request is not understood"


class BadRequest(InputError):
    """Bytes, header or parameter that HTTP or this gateway does not allow."""


class MalformedJson(BadRequest):
    """The body is not JSON (RFC 8259), or holds what Odoo and JSON Schema cannot: NaN, a lone surrogate, NUL."""

    code, title = "malformed-json", "The body is not JSON"


class UnknownParameter(BadRequest):
    """A query parameter that the endpoint does not have, or a value it cannot have."""

    code, title = "unknown-parameter", "A query parameter is not understood"


class RequestTimeout(InputError):
    """Headers or body came too slowly."""

    code, status, title = "request-timeout", 408, "The request came too slowly"


class BodyTooLarge(InputError):
    """The body is larger than the endpoint's ``max_body``."""

    code, status, title = "body-too-large", 413, "The body is too large"


class TargetTooLong(InputError):
    """The request target is longer than the gateway reads."""

    code, status, title = "target-too-long", 414, "The URL is too long"


class UnsupportedMediaType(InputError):
    """The body is of a type that the endpoint does not take."""

    code, status, title = "unsupported-media-type", 415, "The media type is not supported"


class InvalidBody(InputError):
    """The body is JSON and breaks the endpoint's schema; ``errors`` holds a JSON pointer for each mistake."""

    code, status, title = "invalid-body", 422, "The body breaks the schema of the endpoint"


class IdempotencyMismatch(InputError):
    """The ``Idempotency-Key`` was used for another request before."""

    code, status, title = "idempotency-mismatch", 422, "The Idempotency-Key is that of another request"


class HeadersTooLarge(InputError):
    """More header bytes or fields than the gateway reads."""

    code, status, title = "headers-too-large", 431, "The headers are too large"


class NotImplementedHere(InputError):
    """CONNECT, Upgrade and other things that the gateway does not do."""

    code, status, title = "not-implemented", 501, "The gateway does not do this"


class HttpVersionNotSupported(InputError):
    """Neither HTTP/1.0 nor HTTP/1.1."""

    code, status, title = "http-version-not-supported", 505, "The HTTP version is not supported"


class InvalidToken(Error):
    """No token, or one that is not, no more or not yet good; always 401 with ``WWW-Authenticate`` (RFC 6750)."""

    code, status, title = "invalid-token", 401, "The access token is missing or not valid"


class NotSignedIn(Error):
    """No operator is signed in at the console, or not any more; 401 with ``WWW-Authenticate``."""

    code, status, title = "not-signed-in", 401, "Nobody is signed in"


class SignInFailed(Error):
    """Name or password of an operator is wrong, or the account is disabled; which of them is not told."""

    code, status, title = "sign-in-failed", 401, "Name or password is wrong"


class Forbidden(Error):
    """The caller is known and may not do this."""

    code, status, title = "forbidden", 403, "The client may not do this"


class InsufficientScope(Forbidden):
    """The token lacks the scope of the endpoint (RFC 6750, section 3.1)."""

    code, title = "insufficient-scope", "The token lacks a scope"


class InsufficientRole(Forbidden):
    """The operator is known, and has not the role that this needs."""

    code, title = "insufficient-role", "The operator may not do this"


class ForeignOrigin(Forbidden):
    """The request does not come from the console's own pages: another host, another origin, no CSRF token."""

    code, title = "foreign-origin", "The request does not come from the console"


class NotFound(Error):
    """No endpoint has this path."""

    code, status, title = "not-found", 404, "There is nothing at this path"


class RecordNotFound(NotFound):
    """The record does not exist, or is not the caller's."""

    code, title = "record-not-found", "The record does not exist"


class MethodNotAllowed(Error):
    """The endpoint exists and does not have this method; ``Allow`` says which it has."""

    code, status, title = "method-not-allowed", 405, "The endpoint does not have this method"


class Conflict(Error):
    """The record is in a state, or another record exists, that forbids this."""

    code, status, title = "conflict", 409, "The request conflicts with the state of the record"


class CallerDisabled(Conflict):
    """An operator has disabled the client or its partner: it gets nothing until it is enabled again."""

    code, title = "caller-disabled", "The client or its partner is disabled"


class OutcomeUnclear(Conflict):
    """Whether an earlier try of the change was carried out cannot be told any more, so it is not safe to repeat."""

    code, title = "outcome-unclear", "It cannot be told whether the change was made"


class IdempotencyInWork(Conflict):
    """The first request with this ``Idempotency-Key`` has not been answered yet."""

    code, title, retryable = "idempotency-in-work", "The request with this Idempotency-Key is still in work", True


class TransactionSent(Conflict):
    """The transaction was sent to the upstream, or may have been, and cannot be cancelled any more."""

    code, title = "transaction-sent", "The transaction can no longer be cancelled"


class AnswerGone(Error):
    """The first request with this ``Idempotency-Key`` was refused, and what the refusal said is not kept any more."""

    code, status, title = "answer-gone", 410, "What the first request was answered is not kept any more"


class PreconditionFailed(Error):
    """``If-Match`` names another state of the record than the present one (RFC 9110, section 13.1.1)."""

    code, status, title = "precondition-failed", 412, "The record has changed meanwhile"


class TooManyRequests(Error):
    """A rate limit of the client or the endpoint is used up."""

    code, status, title, retryable = "too-many-requests", 429, "The rate limit is used up", True


class TooMuchQueued(TooManyRequests):
    """As much of the partner waits to be delivered as may."""

    code, title = "too-much-queued", "Too much waits to be delivered"


class UpstreamError(Error):
    """Something about the system behind the gateway."""

    code, status, title = "upstream-bad-answer", 502, "The upstream's answer cannot be used"


class UpstreamRejected(UpstreamError):
    """The upstream understood the record and refuses it: a rule, a constraint, a missing value."""

    code, status, title = "upstream-rejected", 422, "The upstream refuses the record"


class UpstreamMisconfigured(UpstreamError):
    """The gateway's own account or its catalog does not fit the upstream; a partner cannot mend that."""

    code, title = "upstream-misconfigured", "The gateway is not set up rightly for its upstream"


class UpstreamBadAnswer(UpstreamError):
    """The upstream answered with something that is no HTTP, no JSON or not what its protocol says."""


class UpstreamUnavailable(UpstreamError):
    """Refused, reset, answering 5xx, or known to be down (breaker open)."""

    code, status, title, retryable = "upstream-unavailable", 503, "The upstream is not available", True


class UpstreamBusy(UpstreamError):
    """All places at the upstream are taken, and none came free within ``wait``."""

    code, status, title, retryable = "upstream-busy", 503, "The upstream is busy", True


class UpstreamTimeout(UpstreamError):
    """No whole answer before the deadline; a write may or may not have happened."""

    code, status, title, retryable = "upstream-timeout", 504, "The upstream did not answer in time", True


class StoreUnavailable(Error):
    """The database or its disk does not take a change now."""

    code, status, title, retryable = "store-unavailable", 503, "The store is not available", True


class NotReady(Error):
    """No catalog is in force yet."""

    code, status, title, retryable = "not-ready", 503, "No catalog is in force yet", True


class SettingsError(Error):
    """Settings files with mistakes; ``errors`` holds ``file:line`` as the path of each."""

    code, title = "settings", "The settings have mistakes"


class CatalogError(Error):
    """Catalog files with mistakes; ``errors`` holds ``file:line`` as the path of each."""

    code, title = "catalog", "The catalog has mistakes"
