"""Errors as OAuth 2.0 has them: a code of the RFC and a sentence (RFC 6749, section 5.2)."""

from __future__ import annotations

import logging
import re
from math import ceil

from flask import Response, jsonify

from entrepot.chassis.errors import Error

log = logging.getLogger(__name__)

BASIC_CHALLENGE = ("WWW-Authenticate", 'Basic realm="entrepot", charset="UTF-8"')
NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# What a description may not hold.
_REFUSED = re.compile(r"[^\x20-\x21\x23-\x5B\x5D-\x7E]")


class OAuthError(Error):
    """What is wrong with a request to the token endpoint and its like; *code* is that of RFC 6749."""

    code, status, title = "invalid_request", 400, "The request is not understood"


class InvalidClient(OAuthError):
    """Who asks is not known, or the secret is not right. RFC 9110 wants a challenge with every 401."""

    code, status, title = "invalid_client", 401, "The client is not known, or its secret is not right"

    def __init__(self, message: str = "") -> None:
        super().__init__(message, headers=[BASIC_CHALLENGE])


class UnauthorizedClient(OAuthError):
    """The client is known, and may not do this."""

    code, title = "unauthorized_client", "The client may not do this"


class InvalidGrant(OAuthError):
    """The token was issued to another client."""

    code, title = "invalid_grant", "The token is another client's"


class UnsupportedGrantType(OAuthError):
    """Another grant than client credentials."""

    code, title = "unsupported_grant_type", "The only grant_type is client_credentials"


class InvalidScope(OAuthError):
    """A scope that the client does not have, or none at all."""

    code, title = "invalid_scope", "The scope is not one of the client"


_LATER = "temporarily_unavailable"
_LATER_STATUSES = frozenset({429, 503})


def answer(error: Error) -> Response:
    """Return *error* as the RFCs have it. What may be tried again (429, 503) has a code of its own: none is theirs.

    What is wrong with the gateway itself names files and hosts, so it is told to the log alone.
    """
    code = error.code if isinstance(error, OAuthError) else "invalid_request"
    told = str(error)
    if error.status >= 500:
        log.error("the portal cannot answer", extra={"code": error.code, "reason": told})
        code, told = "server_error", error.title
    if error.status in _LATER_STATUSES:
        code = _LATER
    document = {"error": code, "error_description": _REFUSED.sub("'", told)}
    response = jsonify(document)
    response.status_code = error.status
    response.headers.update(NOT_KEPT)
    for name, value in error.headers:
        response.headers.add(name, value)
    if error.retry_after_s is not None or code == _LATER:
        response.headers["Retry-After"] = str(max(1, ceil(error.retry_after_s or 1)))
    return response
