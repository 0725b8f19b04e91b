"""What every request must keep before anything else is looked at, and what every answer tells browsers.

A site that an operator's browser shows can make it ask the console. It can have its own name point here (DNS
rebinding), so the console answers only at its own names and at addresses, which nobody can rebind. And it can send what
changes something, with the operator's cookie; so that must come from the console's own pages.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request

from entrepot.chassis.networks import address_of, lies_in
from entrepot.errors import ForeignOrigin
from entrepot.settings import ConsoleSettings

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SAME_SITE = frozenset({"same-origin", "none"})
_YEAR_S = 31_536_000
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def install(app: Flask, settings: ConsoleSettings) -> None:
    """Guard all requests to *app*."""
    app.before_request(_checked(settings))
    app.after_request(_told(settings))


def is_public(incoming: Request, settings: ConsoleSettings) -> bool:
    """Tell whether *incoming* came by the public name of the console, over HTTPS."""
    public = urlsplit(settings.public_url)
    return public.scheme == "https" and _host(incoming) == public.netloc.lower()


def source(incoming: Request, settings: ConsoleSettings) -> str:
    """Return the address that *incoming* came from; behind trusted proxies the last that is none of theirs.

    Who comes by a unix socket is trusted: its mode says who may.
    """
    peer = incoming.remote_addr or ""
    if peer and not lies_in(settings.trusted, peer):
        return peer
    nodes = incoming.headers.get("X-Forwarded-For", "").split(",")
    for node in reversed(nodes):
        address = address_of(node.strip())
        if address is None:
            break
        if not lies_in(settings.trusted, str(address)):
            return str(address)
    return peer


def _checked(settings: ConsoleSettings) -> Callable[[], None]:
    names = {"localhost", urlsplit(settings.public_url).hostname or "localhost"}

    def check() -> None:
        name = _name(_host(request))
        if name not in names and address_of(name) is None:
            raise ForeignOrigin("the console has no such host name; [console] public_url gives it one")
        if request.method in CHANGING:
            _check_origin(request, settings)

    return check


def _check_origin(incoming: Request, settings: ConsoleSettings) -> None:
    origin = incoming.headers.get("Origin")
    if origin is None:
        # Scripts send neither; browsers send at least one of the two.
        if incoming.headers.get("Sec-Fetch-Site", "none") not in _SAME_SITE:
            raise ForeignOrigin("another site has sent this")
        return
    schemes = ("https",) if is_public(incoming, settings) else ("http", "https")
    if origin.lower() not in {f"{scheme}://{_host(incoming)}" for scheme in schemes}:
        raise ForeignOrigin("another site has sent this")


def _host(incoming: Request) -> str:
    return incoming.headers.get("Host", "").lower()


def _name(host: str) -> str:
    """Return *host* without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _told(settings: ConsoleSettings) -> Callable[[Response], Response]:
    def tell(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if is_public(request, settings):
            response.headers["Strict-Transport-Security"] = f"max-age={_YEAR_S}"
        return response

    return tell
