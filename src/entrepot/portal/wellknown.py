"""What is the same for everyone: our keys (RFC 7517), and where which endpoint is (RFC 8414)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from entrepot.errors import NotFound
from entrepot.identity.jwks import jwks
from entrepot.portal.oauth import GRANT
from entrepot.portal.portal import portal

METADATA_AGE_S = 3600
_METADATA = "/.well-known/oauth-authorization-server"
_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

blueprint = Blueprint("well-known", __name__)


@blueprint.get("/.well-known/jwks.json")
def keys() -> Response:
    """Return the public keys that tokens are signed with, and how long they may be kept."""
    found = jwks(portal().services.keyring)
    return kept(Response(found.document, mimetype="application/jwk-set+json"), found.max_age_s)


@blueprint.get(_METADATA)
@blueprint.get(f"{_METADATA}/<path:issuer_path>")
def metadata(issuer_path: str = "") -> Response:
    """Return the metadata; for an issuer with a path that is appended (RFC 8414, section 3.1)."""
    here = portal()
    public_url = here.settings.gateway.public_url
    if issuer_path and urlsplit(public_url).path != f"/{issuer_path}":
        raise NotFound("no issuer has this path")
    if public_url:
        return kept(jsonify(_document(here.issuer, public_url)), METADATA_AGE_S)
    # The host is what the caller says it is: a cache must not tell others so.
    response = jsonify(_document(here.issuer, request.host_url.rstrip("/")))
    response.headers["Cache-Control"] = "no-store"
    return response


def _document(issuer: str, base: str) -> dict[str, Any]:
    # There is no authorization endpoint, and so no response type. RFC 8414 requires the member (section 2) and wants
    # empty arrays left out (section 3.2): who requires it finds it.
    return {
        "issuer": issuer,
        "token_endpoint": f"{base}/oauth/token",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "response_types_supported": [],
        "grant_types_supported": [GRANT],
        "token_endpoint_auth_methods_supported": _AUTH_METHODS,
        "revocation_endpoint": f"{base}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": _AUTH_METHODS,
        "introspection_endpoint": f"{base}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": _AUTH_METHODS,
    }


def kept(response: Response, max_age_s: int) -> Response:
    """Return *response*, which anybody may keep for *max_age_s* and then ask whether it is still the same."""
    response.headers["Cache-Control"] = f"public, max-age={max_age_s}"
    response.add_etag()
    response.make_conditional(request)
    return response
