"""Which client asks: its name and secret, by HTTP Basic or in the form (RFC 6749, section 2.3.1)."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from entrepot.portal.errors import InvalidClient, OAuthError

MAX_CHARS = 512


@dataclass(frozen=True, slots=True)
class Shown:
    """The name and the secret that a request shows; neither has been checked."""

    client: str
    secret: str


def shown(authorization: str | None, form: Mapping[str, str]) -> Shown:
    """Return what a request with the header *authorization* and the *form* shows.

    Raises InvalidClient when it shows no secret, OAuthError when it shows one in two ways.
    """
    if authorization is None:
        return _checked(Shown(form.get("client_id", ""), form.get("client_secret", "")))
    if "client_secret" in form:
        raise OAuthError("the client authenticates in two ways: by the header Authorization and by client_secret")
    found = _checked(_of_basic(authorization))
    if form.get("client_id", found.client) != found.client:
        raise OAuthError("client_id is another one than that of the header Authorization")
    return found


def _of_basic(authorization: str) -> Shown:
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("the client must authenticate by HTTP Basic or by client_id and client_secret")
    try:
        name, colon, secret = b64decode(credentials.strip(), validate=True).decode().partition(":")
        client, secret = (unquote_plus(part, errors="strict") for part in (name, secret))
    except (Base64Error, ValueError) as exc:
        raise InvalidClient("the header Authorization is not that of HTTP Basic") from exc
    return Shown(client, secret if colon else "")


def _checked(found: Shown) -> Shown:
    if not found.client or not found.secret:
        raise InvalidClient("the client must authenticate by HTTP Basic or by client_id and client_secret")
    if max(len(found.client), len(found.secret)) > MAX_CHARS:
        raise InvalidClient(f"neither client_id nor client_secret has more than {MAX_CHARS} characters")
    return found
