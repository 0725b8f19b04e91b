"""Who asks, and whether that operator may.

A session is shown as a cookie, by browsers, or as a bearer token, by scripts. Browsers send cookies whoever makes them
ask, so what a cookie is to change needs the CSRF token of its session, too.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

from flask import request
from werkzeug.http import dump_cookie

from entrepot.console.console import console
from entrepot.console.guard import CHANGING, is_public
from entrepot.errors import ForeignOrigin, InsufficientRole, NotSignedIn
from entrepot.identity.operators import HeldOperator
from entrepot.identity.roles import Role, may
from entrepot.identity.sessions import csrf_token

CSRF_HEADER = "X-CSRF-Token"
COOKIE = "entrepot-session"
# Browsers take a cookie of such a name from this host alone, and over HTTPS (RFC 6265bis, section 4.1.3.2).
PUBLIC_COOKIE = "__Host-entrepot-session"
_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/=-]+)", re.IGNORECASE)
_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="entrepot console"'),)


@dataclass(frozen=True, slots=True)
class Shown:
    """The session that a request shows, good or not, and whether as a cookie."""

    is_cookie: bool
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is signed in, by what, and until when at last."""

    operator: HeldOperator
    shown: Shown
    ends_at: float


def shown() -> Shown | None:
    """Return the session that the present request shows; None when it shows none. The header goes before the cookie."""
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        match = _BEARER.fullmatch(authorization)
        return Shown(is_cookie=False, text="" if match is None else match[1])
    cookie = request.cookies.get(_cookie_name())
    return None if cookie is None else Shown(is_cookie=True, text=cookie)


def admitted(least: Role) -> Caller:
    """Return who asks, who has at least the role *least*.

    Raises NotSignedIn, ForeignOrigin when the CSRF token is missing or another, InsufficientRole, StoreUnavailable.
    """
    found = shown()
    signed = None if found is None else console().sessions.find(found.text)
    if found is None or signed is None:
        raise NotSignedIn("sign in: there is no session, or it has ended", headers=_CHALLENGE)
    if found.is_cookie and request.method in CHANGING:
        _check_csrf(found.text)
    if not may(signed.operator.role, least):
        raise InsufficientRole(f"this needs the role {least}; {signed.operator.name} is {signed.operator.role}")
    return Caller(signed.operator, found, signed.ends_at)


def _check_csrf(text: str) -> None:
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(errors="replace"), csrf_token(text).encode()):
        raise ForeignOrigin(f"the header {CSRF_HEADER} is missing, or is not that of the session")


def session_cookie(text: str) -> str:
    """Return the header that gives the browser the session *text*; empty: that takes it away."""
    return dump_cookie(
        _cookie_name(), text, httponly=True, samesite="Strict", secure=_is_public(), max_age=None if text else 0
    )


def _cookie_name() -> str:
    return PUBLIC_COOKIE if _is_public() else COOKIE


def _is_public() -> bool:
    return is_public(request, console().settings.console)
