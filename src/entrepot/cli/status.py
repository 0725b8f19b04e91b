"""``entrepot status``: what is in force, what waits to be delivered, whether the gateway answers and couriers run."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import time
from dataclasses import replace
from typing import Any

from entrepot.chassis.errors import Error
from entrepot.chassis.exposition import living
from entrepot.chassis.shared import SharedState
from entrepot.cli import backlog
from entrepot.cli.output import complain, say_json, say_table
from entrepot.cli.startup import start
from entrepot.connectors.base import BreakerPolicy
from entrepot.connectors.breaker import Breaker
from entrepot.ledger.drain import Drain, Outlook
from entrepot.services import Services
from entrepot.settings import Settings
from entrepot.store import schema

TIMEOUT_S = 2.0
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "*": "127.0.0.1"}  # noqa: S104 - what a setting says, to be replaced


def show(arguments: argparse.Namespace) -> int:
    """Say what the store holds and what the gateway answers; without a gateway the store alone speaks."""
    settings = start(arguments).settings
    with Services.from_settings(settings) as services:
        catalog = services.catalog()
        found = {
            "store": str(settings.store.directory),
            "schema": _schema(services),
            "revision": catalog.revision,
            "upstreams": len(catalog.upstreams),
            "endpoints": len(catalog.endpoints),
            "partners": len(catalog.partners),
            "clients": len(catalog.clients),
            "gateway": _gateway(settings),
            "couriers": sum(name.startswith("courier-") for name in living(settings.store.directory / "metrics")),
        }
        outlook = _outlook(services, settings, sorted(catalog.upstreams))
    if arguments.json:
        say_json({**found, **backlog.document(outlook)})
    else:
        say_table([*_rows(found), *(backlog.rows(outlook) if outlook else ())])
    return 0


def _outlook(services: Services, settings: Settings, upstreams: list[str]) -> Outlook | None:
    try:
        outlook = services.ledger.outlook(upstreams)
        shared = SharedState.open(settings.store.directory / "shared")
    except Error as error:
        complain(f"what waits is not known: {error}")
        return None
    try:
        drains = tuple(replace(drain, is_away=_is_away(drain, shared)) for drain in outlook.drains)
    finally:
        shared.close()
    return replace(outlook, drains=drains)


def _is_away(drain: Drain, shared: SharedState) -> bool:
    """Tell whether something waits for an upstream that this host leaves alone."""
    if not drain.unfinished:
        return False
    return Breaker(shared, drain.upstream, BreakerPolicy()).state(time.monotonic()) != "closed"


def _schema(services: Services) -> str:
    try:
        status = schema.status(services.database)
    except Error as error:
        return str(error)
    if status.pending:
        return f"{status.current or 'none'}; this release needs {status.head}: run entrepot db upgrade"
    return str(status.current)


def _rows(found: dict[str, Any]) -> list[tuple[str, object]]:
    gateway, couriers = found["gateway"], found["couriers"]
    where = ", ".join(gateway.get("listening") or [gateway["address"]])
    says = f"answers at {where}, serves revision {gateway.get('revision')}"
    rows: list[tuple[str, object]] = [
        *((name, value) for name, value in found.items() if name not in {"gateway", "couriers"}),
        ("gateway", says if gateway["answers"] else f"does not answer at {gateway['address']}"),
        ("couriers", f"{couriers} on this host" if couriers else "none on this host"),
    ]
    for name, upstream in (gateway.get("upstreams") or {}).items():
        rows.append((f"upstream {name}", ", ".join(f"{key} {value}" for key, value in upstream.items())))
    return rows


def _gateway(settings: Settings) -> dict[str, Any]:
    address = settings.gateway.bind[0]
    try:
        answer = _ask(address)
    except (OSError, ValueError, http.client.HTTPException):
        return {"address": address, "answers": False}
    return {"address": address, "answers": True, **answer}


def _ask(address: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_S)
    connection.sock = _connected(address)
    try:
        connection.request("GET", "/status")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return {name: answer[name] for name in ("version", "listening", "revision", "upstreams") if name in answer}


def _connected(address: str) -> socket.socket:
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT_S)
        sock.connect(address.removeprefix("unix:"))
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((_ANY.get(host, host.strip("[]")), int(port)), TIMEOUT_S)
