"""The way to the portal: reserved paths are relayed to it over its socket, whatever the catalog says.

Only what the portal looks at is handed on, so that no other header of a caller means anything there. What is said of
the caller (address, host, scheme, operation id) is the gateway's own word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from entrepot.chassis.errors import Error
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import Upstream
from entrepot.connectors.http import returned_fields
from entrepot.connectors.link import Link
from entrepot.connectors.links import Links
from entrepot.gateway.answers import Answer
from entrepot.gateway.relay import own_fields
from entrepot.settings import PortalSettings
from entrepot.wire.clock import Clock

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

MAX_BODY_BYTES = 64 * 1024
TIMEOUT_S = 20.0
_PREFIXES = (b"/oauth/", b"/.well-known/", b"/docs/")
_DOCS = b"/docs"
_NAME = "the portal"
_SENT = (
    b"authorization", b"content-type", b"accept", b"accept-language", b"if-none-match", b"if-modified-since",
    b"user-agent",
)  # fmt: skip
_LIMITS = frozenset({b"ratelimit", b"ratelimit-policy"})
_PAGES = frozenset(
    {
        b"/oauth/token", b"/oauth/revoke", b"/oauth/introspect", b"/oauth/whoami", b"/.well-known/jwks.json",
        b"/.well-known/oauth-authorization-server", b"/docs/openapi.json", _DOCS,
    }
)  # fmt: skip


def is_portal_path(path: bytes) -> bool:
    """Tell whether the portal answers for *path*."""
    return path.startswith(_PREFIXES) or path == _DOCS


def page_of(path: bytes) -> str:
    """Return which page of the portal *path* is, as a label; a made-up one makes no time series of its own."""
    if path in _PAGES:
        return path.decode("ascii")
    prefix = next((prefix for prefix in _PREFIXES if path.startswith(prefix)), _DOCS)
    return f"{prefix.decode('ascii').rstrip('/')}/{{page}}"


class Portal:
    """Relays exchanges to the portal of *settings*. Lives on the event loop's thread.

    As many are under way as the portal has threads, on the whole host; some more wait a while for their turn.
    """

    def __init__(
        self, settings: PortalSettings, shared: SharedState, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._loop = loop
        upstream = Upstream(
            _NAME, "http", settings.bind, timeout_s=TIMEOUT_S, concurrency=settings.workers * settings.threads
        )  # fmt: skip
        self._links = Links(shared, clock, loop)
        self._links.enforce(self._links.prepare({_NAME: upstream}))

    def start(self, exchange: Exchange) -> None:
        """Send *exchange* to the portal when its body is there, at most ``MAX_BODY_BYTES``."""
        exchange.read_body(MAX_BODY_BYTES, partial(self._send, exchange))

    def sweep(self, now: float) -> None:
        """Apply deadlines; called a few times a second."""
        self._links.sweep(now)

    def close(self) -> None:
        """Close all connections."""
        self._links.close()

    @property
    def _link(self) -> Link:
        return self._links.links[_NAME]

    def _send(self, exchange: Exchange) -> None:
        tasks = exchange.gateway.tasks
        exchange.task = task = self._loop.create_task(self._serve(exchange))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            # Past the breaker: on a socket of this host a failure costs nothing, and 503 may be about one page alone.
            reply = await self._link.fetch(
                _head(exchange, self._link.host), exchange.body, deadline=monotonic() + TIMEOUT_S, past_breaker=True
            )
            exchange.answer(Answer(reply.status, _returned(reply.headers), reply.body))
        except Error as error:
            exchange.fail(error)
        except Exception as exc:  # noqa: BLE001 - the edge of a request
            exchange.crash(exc)


def _returned(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    # What serves behind the gateway is nobody's business. Its limits are ours, not those of an upstream.
    known = [field for field in fields if field[0] != b"server"]
    return returned_fields(known) + b"".join([b"%b: %b\r\n" % field for field in known if field[0] in _LIMITS])


def _head(exchange: Exchange, host: bytes) -> bytes:
    # HEAD is asked as GET, whose length it announces; the connection leaves the body out.
    method = b"GET" if exchange.method == b"HEAD" else exchange.method
    fields = exchange.fields
    sent = b"".join([b"%b: %b\r\n" % (name, fields[name]) for name in _SENT if name in fields])
    length = b"content-length: %d\r\n" % len(exchange.body) if exchange.body else b""
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b%b\r\n" % (
        method, exchange.target, host, own_fields(exchange), sent, length
    )  # fmt: skip
