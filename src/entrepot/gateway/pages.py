"""The gateway's own pages on the partners' port: status, health, metrics."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from entrepot.chassis.metrics import CONTENT_TYPE, exposition
from entrepot.errors import MethodNotAllowed, NotFound
from entrepot.gateway.answers import Answer, json_answer

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

VERSION = version("entrepot")
_METRICS_TYPE = f"content-type: {CONTENT_TYPE}\r\n".encode("ascii")


def status(exchange: Exchange) -> Answer:
    """Return name and version; to those who may see metrics also sockets, revision and upstreams."""
    _only_reads(exchange)
    document: dict[str, object] = {"name": "Entrepot", "version": VERSION}
    gateway = exchange.gateway
    if gateway.may_see_metrics(exchange.source):
        document["listening"] = gateway.listening
        document["revision"] = gateway.table.revision
        document["upstreams"] = {
            name: {"breaker": link.breaker.state(gateway.clock.now), "in_flight": link.places.in_use()}
            for name, link in gateway.links.links.items()
        }
    return json_answer(200, document)


def live(exchange: Exchange) -> Answer:
    """Return 200: this worker's loop turns."""
    _only_reads(exchange)
    return json_answer(200, {"status": "live"})


def ready(exchange: Exchange) -> Answer:
    """Return 200 when a catalog is in force, else 503."""
    _only_reads(exchange)
    if exchange.gateway.table.revision == 0:
        return json_answer(503, {"status": "no catalog"})
    return json_answer(200, {"status": "ready"})


def metrics(exchange: Exchange) -> Answer | None:
    """Return the metrics of all workers in the Prometheus text format; 404 to networks that are not allowed."""
    _only_reads(exchange)
    gateway = exchange.gateway
    if not gateway.may_see_metrics(exchange.source):
        raise NotFound("no endpoint has this path")
    gateway.flush_metrics()
    # Adding up thousands of histograms takes a tenth of a second: not on the loop.
    text = gateway.loop.run_in_executor(None, exposition, gateway.metrics_directory)
    text.add_done_callback(partial(_answer_metrics, exchange))
    return None


def _answer_metrics(exchange: Exchange, text: Future[bytes]) -> None:
    try:
        exchange.answer(Answer(200, _METRICS_TYPE, text.result()))
    except Exception as exc:  # noqa: BLE001 - the edge of a request
        exchange.crash(exc)


def _only_reads(exchange: Exchange) -> None:
    if exchange.method not in {b"GET", b"HEAD"}:
        raise MethodNotAllowed("only GET is allowed here", headers=[("allow", "GET, HEAD")])


PAGES: dict[bytes, Callable[[Exchange], Answer | None]] = {
    b"/status": status,
    b"/health/live": live,
    b"/health/ready": ready,
    b"/metrics": metrics,
}
