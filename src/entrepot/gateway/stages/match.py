"""match: method override, path → operation and path values. 400, 404, 405; OPTIONS is answered here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.errors import BadRequest, MethodNotAllowed, NotFound, NotReady
from entrepot.gateway.answers import Answer
from entrepot.gateway.paths import check_path
from entrepot.gateway.portal import is_portal_path

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange
    from entrepot.gateway.operations import Place

TRANSACTIONS = b"/transactions"
OVERRIDES = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
"""Not HEAD: whether an answer has a body is settled by the method on the wire."""


def match(exchange: Exchange) -> bool | None:
    """Set ``operation``, ``path``, ``query`` and ``raw_values`` of the exchange."""
    path, _, exchange.query = exchange.target.partition(b"?")
    exchange.path = path
    override = exchange.fields.get(b"x-http-method-override")
    if override is not None and exchange.method == b"POST":
        exchange.method = overridden(override)
    found = exchange.gateway.table.recent.get(path)
    if found is None:
        check_path(path)
        page = exchange.gateway.pages.get(path)
        if page is not None:
            answer = page(exchange)
            if answer is not None:
                exchange.answer(answer)
            return True
        if path.startswith(TRANSACTIONS):
            return match_transactions(exchange)
        if is_portal_path(path):
            exchange.gateway.portal.start(exchange)
            return True
        found = find_place(exchange, path)
    place, exchange.raw_values = found
    operation = place.operations.get(exchange.method)
    if operation is None:
        return refuse_method(exchange, place)
    exchange.operation = operation
    return None


def match_transactions(exchange: Exchange) -> bool:
    """Take a request for ``/transactions`` or ``/transactions/{id}`` on its own way."""
    collection, _, id_ = exchange.path[1:].partition(b"/")
    if collection != TRANSACTIONS[1:] or b"/" in id_ or exchange.path.endswith(b"/"):
        raise NotFound("no endpoint has this path")
    methods = (b"GET", b"HEAD", b"DELETE") if id_ else (b"GET", b"HEAD")
    allow = b", ".join(sorted([*methods, b"OPTIONS"])).decode("ascii")
    if exchange.method == b"OPTIONS":
        exchange.answer(Answer(204, f"allow: {allow}\r\n".encode("ascii")))
    elif exchange.method in methods:
        exchange.raw_values = (id_,) if id_ else ()
        exchange.enter_transactions()
    else:
        method = exchange.method.decode("ascii", "replace")
        raise MethodNotAllowed(f"{method} is not allowed here", headers=[("allow", allow)])
    return True


def find_place(exchange: Exchange, path: bytes) -> tuple[Place, tuple[bytes, ...]]:
    """Look *path* up in the table in force, which remembers what is asked for often."""
    table = exchange.gateway.table
    if table.revision == 0:
        raise NotReady("no catalog has been applied yet", retry_after_s=5.0)
    found = table.router.match(path)
    if found is None:
        raise NotFound("no endpoint has this path")
    table.remember(path, found)
    return found


def refuse_method(exchange: Exchange, place: Place) -> bool:
    """Answer OPTIONS, which needs no token; raise MethodNotAllowed for other methods."""
    if exchange.method == b"OPTIONS":
        exchange.answer(Answer(204, f"allow: {place.allow}\r\n".encode("ascii")))
        return True
    method = exchange.method.decode("ascii", "replace")
    raise MethodNotAllowed(f"{method} is not allowed here", headers=[("allow", place.allow)])


def overridden(value: bytes) -> bytes:
    """Return the method named by ``X-HTTP-Method-Override``."""
    method = value.upper()
    if method not in OVERRIDES:
        raise BadRequest("X-HTTP-Method-Override names no method that can stand there")
    return method
