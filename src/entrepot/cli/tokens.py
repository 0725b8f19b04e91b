"""``entrepot token``: issue, revoke and list access tokens."""

from __future__ import annotations

import argparse
import sys
import time

from entrepot.chassis.errors import Error
from entrepot.cli.output import complain, say, say_json, say_table
from entrepot.cli.startup import Started, start
from entrepot.cli.times import lifetime_s, moment_text
from entrepot.identity.desk import Desk, Held, Revoked
from entrepot.identity.partners import Client
from entrepot.services import Services

_FROM_INPUT = "-"


class UnknownNameError(Error):
    """The catalog in force has no client of this name."""

    code, title = "unknown-client", "The client is not known"


def issue(arguments: argparse.Namespace) -> int:
    """Print a new token of the client, and nothing else; ``--json`` adds its id and when it ends."""
    started = start(arguments)
    expires_s = _expires_s(arguments, started)
    with Services.from_settings(started.settings) as services:
        client = _client(services, arguments.client)
        token = services.desk.issue(client, scopes=arguments.scopes, expires_s=expires_s, by=started.by)
    if arguments.json:
        ends = moment_text(token.expires_at)
        say_json({"token": token.token, "jti": token.jti, "expires_at": ends, "scopes": sorted(token.scopes)})
    else:
        say(token.token)
    return 0


def _expires_s(arguments: argparse.Namespace, started: Started) -> float:
    limits = started.settings.tokens
    if arguments.expires is None:
        return limits.expires_s
    try:
        expires_s = lifetime_s(arguments.expires, time.time())
    except ValueError as exc:
        arguments.parser.error(f"argument --expires: {exc}")
    if not 1 <= expires_s <= limits.max_expires_s:
        days = limits.max_expires_s / 86_400
        arguments.parser.error(f"argument --expires: must be from one second to {days:g} days ([tokens] max_expires)")
    return expires_s


def _client(services: Services, name: str) -> Client:
    clients = services.catalog().clients
    if name not in clients:
        known = ", ".join(sorted(clients)) or "none"
        raise UnknownNameError(f"the catalog in force has no client {name!r}; it has: {known}")
    return clients[name]


def revoke(arguments: argparse.Namespace) -> int:
    """Revoke a token, or all of a client or partner, and say whether that was new."""
    token = _token(arguments)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = _revoked(services.desk, arguments, token, by=started.by)
        _warn_of_unknown(services, done)
    if not done.stored:
        complain("the revocation is in force, but the database is away and does not know of it")
    if arguments.json:
        say_json({"kind": done.kind, "value": done.value, "new": done.new, "stored": done.stored})
    else:
        what = "token" if done.kind == "jti" else f"all tokens so far of the {done.kind}"
        say(f"{'revoked' if done.new else 'was revoked already'}: {what} {done.value}")
    return 0


def _token(arguments: argparse.Namespace) -> bytes:
    given = arguments.token or ""
    if given == _FROM_INPUT:
        given = sys.stdin.readline().strip()
        if not given:
            arguments.parser.error("there is no token on standard input")
    return str(given).encode()


def _revoked(desk: Desk, arguments: argparse.Namespace, token: bytes, *, by: str) -> Revoked:
    if arguments.jti is not None:
        return desk.revoke("jti", arguments.jti, by=by)
    if arguments.client is not None:
        return desk.revoke("client", arguments.client, by=by)
    if arguments.partner is not None:
        return desk.revoke("partner", arguments.partner, by=by)
    return desk.revoke_token(token, by=by)


def _warn_of_unknown(services: Services, done: Revoked) -> None:
    # It may have been in an earlier catalog, so this is done all the same; but it may be a slip of the keyboard.
    if done.kind == "jti" and not services.desk.knows(done.value):
        complain(f"no token with the id {done.value!r} was issued here; it is revoked all the same")
    catalog = services.catalog()
    known = {"client": catalog.clients, "partner": catalog.partners}.get(done.kind)
    if known is not None and done.value not in known:
        complain(f"the catalog in force has no {done.kind} {done.value!r}; its tokens are revoked all the same")


def show(arguments: argparse.Namespace) -> int:
    """List the tokens that were issued, the latest first, and whether they are good."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        held = services.desk.issued(client=arguments.client, partner=arguments.partner)
    rows = [_row(token) for token in held]
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(rows[0]), *(list(row.values()) for row in rows)])
    return 0


def _row(held: Held) -> dict[str, str]:
    claims = held.claims
    return {
        "jti": claims.jti,
        "client": claims.client,
        "partner": claims.partner,
        "state": held.state,
        "issued": moment_text(claims.issued_at),
        "expires": moment_text(claims.expires_at),
        "scopes": " ".join(sorted(claims.scopes)),
    }
