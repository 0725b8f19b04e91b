"""The token endpoint and its neighbours: client credentials (RFC 6749), revocation (7009), introspection (7662).

Their answers are the RFCs' own documents, without the envelope; who am I (``/oauth/whoami``) is ours and has it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request

from entrepot.chassis.errors import Error
from entrepot.chassis.web import ApiResource
from entrepot.chassis.web.request_id import operation_id
from entrepot.errors import Forbidden, InvalidToken
from entrepot.identity.admission import check_network
from entrepot.identity.partners import Client
from entrepot.portal.bearer import present_caller, token_required
from entrepot.portal.callers import shown
from entrepot.portal.errors import (
    NOT_KEPT,
    InvalidGrant,
    InvalidScope,
    OAuthError,
    UnauthorizedClient,
    UnsupportedGrantType,
    answer,
)
from entrepot.portal.forms import read_form
from entrepot.portal.portal import portal
from entrepot.store.audit import Actor

GRANT = "client_credentials"


class OAuthResource(ApiResource):
    """A resource that clients post forms to; what goes wrong is answered as RFC 6749, section 5.2, has it."""

    def post(self) -> Response:
        """Return the answer to the form of a client that has shown its secret."""
        try:
            form = read_form(request)
            source = request.remote_addr or ""
            client = portal().authenticated(shown(request.headers.get("Authorization"), form), source)
            _check_network(client, source)
            return self.answer_form(client, form)
        except Error as error:
            return answer(error)

    def answer_form(self, client: Client, form: Mapping[str, str]) -> Response:
        """Return the answer to *form* of *client*. Raises Error."""
        raise NotImplementedError


class Token(OAuthResource):
    """``/oauth/token``: a token for the client's own secret (RFC 6749, section 4.4)."""

    def answer_form(self, client: Client, form: Mapping[str, str]) -> Response:
        """Return a fresh token. Raises Error."""
        _check_grant(form.get("grant_type"))
        scopes = _scopes(client, form.get("scope"))
        pace = portal().take_turn(client)
        token = portal().issue(client, scopes)
        response = _document(
            {
                "access_token": token.token,
                "token_type": "Bearer",
                "expires_in": token.expires_at - token.issued_at,
                "scope": " ".join(sorted(token.scopes)),
            }
        )
        response.headers.update(pace)
        return response


class Revoke(OAuthResource):
    """``/oauth/revoke``: a client gives one of its own tokens up (RFC 7009)."""

    def answer_form(self, client: Client, form: Mapping[str, str]) -> Response:
        """Return 200 when the token is refused from now on, or was none that is good anywhere. Raises Error."""
        token = _token(form)
        owner = portal().owner(token)
        if owner is not None:
            if owner != client.name:
                raise InvalidGrant
            portal().revoke(token, Actor(client.name, "portal", operation_id(), request.remote_addr or ""))
        return Response(status=200, headers=NOT_KEPT)


class Introspect(OAuthResource):
    """``/oauth/introspect``: whether a token of the client is good, as the data plane sees it (RFC 7662)."""

    def answer_form(self, client: Client, form: Mapping[str, str]) -> Response:
        """Return what the token says, of a good one of the client alone. Raises Error."""
        try:
            caller = portal().caller(_token(form).encode(), request.remote_addr or "")
        except InvalidToken:
            return _document({"active": False})
        if caller.client.name != client.name:
            return _document({"active": False})
        claims = caller.claims
        return _document(
            {
                "active": True,
                "scope": " ".join(sorted(claims.scopes & client.scopes)),
                "client_id": claims.client,
                "token_type": "Bearer",
                "exp": int(claims.expires_at),
                "iat": claims.issued_at,
                "sub": claims.client,
                "aud": portal().issuer,
                "iss": portal().issuer,
                "jti": claims.jti,
                "partner": claims.partner,
            }
        )


class WhoAmI(ApiResource):
    """``/oauth/whoami``: whose the bearer token is, and for how much longer."""

    @token_required
    def get(self) -> tuple[dict[str, Any], int, dict[str, str]]:
        """Return the client of the token, its partner and scopes."""
        caller = present_caller()
        data = {
            "client": caller.client.name,
            "partner": caller.client.partner,
            "scopes": sorted(caller.claims.scopes & caller.client.scopes),
            "jti": caller.claims.jti,
            "expires_in": max(0, int(caller.claims.expires_at - time.time())),
        }
        return data, 200, NOT_KEPT


def _check_grant(grant: str | None) -> None:
    if grant is None:
        raise OAuthError("grant_type is missing")
    if grant != GRANT:
        raise UnsupportedGrantType


def _check_network(client: Client, source: str) -> None:
    try:
        check_network(client, source)
    except Forbidden as error:
        raise UnauthorizedClient(str(error)) from error


def _scopes(client: Client, wanted: str | None) -> frozenset[str]:
    if wanted is None:
        return client.scopes
    scopes = frozenset(wanted.split(" ")) - {""}
    if not scopes or not scopes <= client.scopes:
        raise InvalidScope(f"the client {client.name} has the scopes: {' '.join(sorted(client.scopes)) or 'none'}")
    return scopes


def _token(form: Mapping[str, str]) -> str:
    if "token" not in form:
        raise OAuthError("token is missing")
    return form["token"]


def _document(document: Mapping[str, Any]) -> Response:
    response = jsonify(document)
    response.headers.update(NOT_KEPT)
    return response
