"""The operation id of a Flask request: in ``g.operation_id``, in the log, in ``X-Request-Id``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

from flask import Flask, Request, Response, current_app, g, request

from entrepot.chassis.operation import OperationIds, current_operation_id, is_operation_id

HEADER = "X-Request-Id"

Trusted = Callable[[Request], bool] | Iterable[IPv4Network | IPv6Network]
"""Whose ``X-Request-Id`` is believed: networks of the peer, or a function of the request."""

_PREVIOUS = "chassis.previous_operation_id"
_ids = OperationIds()


def operation_id() -> str:
    """Return the operation id of this request; it is made if there is none yet."""
    if not g.get("operation_id"):
        g.operation_id = _ids.new().decode()
    return str(g.operation_id)


def install(app: Flask) -> None:
    """Give each request of *app* its operation id, and each response the header."""
    app.before_request(_start)
    app.after_request(_answer)
    app.teardown_request(_end)


def trust(trusted: Trusted) -> Callable[[Request], bool]:
    """Return *trusted* as a function of the request."""
    if callable(trusted):
        return trusted
    networks = tuple(trusted)

    def is_trusted(incoming: Request) -> bool:
        try:
            peer = ip_address(incoming.remote_addr or "")
        except ValueError:
            return False
        return any(peer in network for network in networks)

    return is_trusted


def _start() -> None:
    if not g.get("operation_id"):
        g.operation_id = _incoming() or _ids.new().decode()
    request.environ[_PREVIOUS] = current_operation_id.get()
    current_operation_id.set(operation_id())


def _incoming() -> str | None:
    text = request.headers.get(HEADER, "")
    if not is_operation_id(text.encode(errors="replace")):
        return None
    return text if current_app.extensions["chassis"].trusts(request) else None


def _answer(response: Response) -> Response:
    response.headers[HEADER] = operation_id()
    return response


def _end(_: BaseException | None) -> None:
    # Several requests of a test may share one outer application context, and with it ``g``.
    g.pop("operation_id", None)
    current_operation_id.set(request.environ.get(_PREVIOUS))
