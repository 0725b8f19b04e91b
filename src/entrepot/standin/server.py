"""The stand-in's HTTP side: ``POST /jsonrpc`` over HTTP/1.0, a connection a call, as Odoo 14 does it."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from entrepot.standin.calls import Calls
from entrepot.standin.database import Database
from entrepot.standin.firstdata import fill

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
SILENCE_S = 30.0
"""A connection that says nothing for so long is closed."""

_PAGE = """<!DOCTYPE html>
<html lang="en"><title>Stand-in ERP</title>
<h1>This is a stand-in, not an Odoo</h1>
<p>It speaks as much of Odoo 14's JSON-RPC (<code>POST /jsonrpc</code>) as Entrepot's demonstration needs:
contacts and sale orders, kept in a small file, all of them invented.</p>
</html>
"""
_ERROR = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<title>{code} {phrase}</title>
<h1>{phrase}</h1>
<p>{text} (This is a stand-in ERP, not an Odoo.)</p>
"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Odoo's own threaded server takes as many as come; a burst must not be refused here.
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], calls: Calls) -> None:
        self.calls = calls
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        log.debug("a connection to the stand-in broke off: %r", sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server_version = "Entrepot-stand-in-ERP/14.0"
    sys_version = ""
    protocol_version = "HTTP/1.0"
    timeout = SILENCE_S
    server: _Server

    def do_GET(self) -> None:
        """Say what this is."""
        if self.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", _PAGE.encode())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        """Answer a JSON-RPC call."""
        if self.path != "/jsonrpc":
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            self._refuse(HTTPStatus.BAD_REQUEST, "Session expired (invalid CSRF token)")
            return
        body = self._body()
        try:
            request = json.loads(body)
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, f"Invalid JSON data: {body[:80]!r}")
            return
        if not isinstance(request, Mapping):
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "The request could not be completed.")
            return
        self._send(HTTPStatus.OK, "application/json", json.dumps(self.server.calls.answer(request)).encode())

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        return self.rfile.read(min(int(length), MAX_BODY_BYTES)) if length.isdigit() else b""

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        page = _ERROR.format(code=status.value, phrase=status.phrase, text=text.replace("<", "&lt;"))
        self._send(status, "text/html; charset=utf-8", page.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        log.info("stand-in ERP: " + format, *args)  # noqa: G003 - the rest of the format is http.server's


class StandIn:
    """A stand-in ERP on a free port of 127.0.0.1, with its data in *directory*; use it as a context manager.

    *database*, *login* and *password* are the account that its callers need.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        database: str = "standin",
        login: str = "gateway",
        password: str,
    ) -> None:
        self.database = database
        self.login = login
        self._database = Database(directory)
        try:
            fill(self._database)
            calls = Calls(self._database, name=database, login=login, password=password)
            self._server = _Server(("127.0.0.1", port), calls)
        except BaseException:
            self._database.close()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="stand-in", daemon=True)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        log.info("stand-in ERP (not an Odoo) answers", extra={"url": self.url})
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._database.close()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
