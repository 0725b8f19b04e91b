"""``entrepot token``: issue, revoke and list access tokens."""

from __future__ import annotations

import argparse
import sys
import time

from entrepot.cli.names import client_named
from entrepot.cli.output import complain, say, say_json, say_table
from entrepot.cli.startup import Started, start
from entrepot.cli.times import lifetime_s, moment_ago, moment_text
from entrepot.identity.desk import Desk, Held, Lifted, Revoked
from entrepot.services import Services
from entrepot.store.audit import Actor

_FROM_INPUT = "-"


def issue(arguments: argparse.Namespace) -> int:
    """Print a new token of the client, and nothing else; ``--json`` adds its id and when it ends."""
    started = start(arguments)
    expires_s = _expires_s(arguments, started)
    with Services.from_settings(started.settings) as services:
        client = client_named(services, arguments.client)
        token = services.desk.issue(client, scopes=arguments.scopes, expires_s=expires_s, actor=started.actor)
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


def revoke(arguments: argparse.Namespace) -> int:
    """Revoke a token, or all of a client, a partner or everybody, and say whether that was new."""
    before = _before(arguments)
    token = _token(arguments)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = _revoked(services.desk, arguments, token, before=before, actor=started.actor)
        _warn_of_unknown(services, done)
    if not done.stored:
        complain("the revocation is in force, but the database is away and does not know of it")
    if arguments.json:
        say_json({"kind": done.kind, "value": done.value, "new": done.new, "stored": done.stored})
    else:
        say(f"{'revoked' if done.new else 'was revoked already'}: {_what(done, before)}")
    return 0


def _what(done: Revoked, before: float | None) -> str:
    if done.kind == "jti":
        return f"token {done.value}"
    until = "so far" if before is None else f"issued before {moment_text(before)}"
    whose = "" if done.kind == "all" else f" of the {done.kind} {done.value}"
    return f"all tokens and API keys {until}{whose}"


def _before(arguments: argparse.Namespace) -> float | None:
    if arguments.before is None:
        return None
    if not (arguments.all or arguments.client or arguments.partner):
        arguments.parser.error("argument --before: goes with --client, --partner or --all")
    now = time.time()
    try:
        before = moment_ago(arguments.before, now)
    except ValueError as exc:
        arguments.parser.error(f"argument --before: {exc}")
    if before > now:
        arguments.parser.error("argument --before: must be in the past")
    return before


def _token(arguments: argparse.Namespace) -> bytes:
    given = arguments.token or ""
    if given == _FROM_INPUT:
        given = sys.stdin.readline().strip()
        if not given:
            arguments.parser.error("there is no token on standard input")
    return str(given).encode()


def _revoked(desk: Desk, arguments: argparse.Namespace, token: bytes, *, before: float | None, actor: Actor) -> Revoked:
    if arguments.jti is not None:
        return desk.revoke("jti", arguments.jti, actor=actor)
    if arguments.client is not None:
        return desk.revoke("client", arguments.client, actor=actor, before=before)
    if arguments.partner is not None:
        return desk.revoke("partner", arguments.partner, actor=actor, before=before)
    if arguments.all:
        return desk.revoke("all", "", actor=actor, before=before)
    return desk.revoke_token(token, actor=actor)


def lift(arguments: argparse.Namespace) -> int:
    """Take back that all of a client, a partner or everybody is refused up to a time, and say up to which."""
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        if arguments.all:
            done = services.desk.lift("all", "", actor=started.actor)
        elif arguments.client is not None:
            done = services.desk.lift("client", arguments.client, actor=started.actor)
        else:
            done = services.desk.lift("partner", arguments.partner, actor=started.actor)
    until = None if done.until is None else moment_text(done.until)
    if arguments.json:
        say_json({"kind": done.kind, "value": done.value, "new": until is not None, "until": until})
    else:
        say(_lifted(done, until))
    return 0


def _lifted(done: Lifted, until: str | None) -> str:
    whose = "" if done.kind == "all" else f" of the {done.kind} {done.value}"
    if until is None:
        return f"nothing to lift: no time is set up to which all{whose or ' of everybody'} is refused"
    return f"lifted: all tokens and API keys up to {until}{whose} are good again, unless revoked otherwise"


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
    limit = arguments.limit
    if limit < 1:
        arguments.parser.error("argument --limit: must be at least 1")
    with Services.from_settings(start(arguments).settings) as services:
        held = services.desk.issued(client=arguments.client, partner=arguments.partner, limit=limit + 1)
    rows = [_row(token) for token in held[:limit]]
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(rows[0]), *(list(row.values()) for row in rows)])
    if len(held) > limit:
        complain(f"there are more than {limit}: see --limit")
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
