"""``entrepot client``: secrets and API keys of clients, made, listed and revoked."""

from __future__ import annotations

import argparse
import sys
import time

from entrepot.cli.names import client_named
from entrepot.cli.output import complain, say, say_json, say_table
from entrepot.cli.startup import start
from entrepot.cli.times import lifetime_s, moment_text
from entrepot.identity.credential import FOREVER, Kind, key_id_in
from entrepot.identity.credentials import HeldCredential
from entrepot.services import Services

_FROM_INPUT = "-"


def make_secret(arguments: argparse.Namespace) -> int:
    """Print a new secret of the client, and nothing else; ``--json`` adds its key id and when it ends."""
    return _make(arguments, "secret", "secret")


def make_api_key(arguments: argparse.Namespace) -> int:
    """Print a new API key of the client, and nothing else; ``--json`` adds its key id and when it ends."""
    return _make(arguments, "api-key", "api_key")


def _make(arguments: argparse.Namespace, kind: Kind, name: str) -> int:
    started = start(arguments)
    expires_s = _expires_s(arguments)
    with Services.from_settings(started.settings) as services:
        client = client_named(services, arguments.client)
        made = services.credentials.make(
            kind, client, label=arguments.label or "", expires_s=expires_s, actor=started.actor
        )
    if arguments.json:
        ends = None if made.expires_at == FOREVER else moment_text(made.expires_at)
        say_json({"client_id": made.client, name: made.text, "key_id": made.key_id, "expires_at": ends})
    else:
        say(made.text)
    return 0


def _expires_s(arguments: argparse.Namespace) -> float | None:
    if arguments.expires is None:
        return None
    try:
        expires_s = lifetime_s(arguments.expires, time.time())
    except ValueError as exc:
        arguments.parser.error(f"argument --expires: {exc}")
    if expires_s < 1:
        arguments.parser.error("argument --expires: must lie in the future")
    return expires_s


def show_secrets(arguments: argparse.Namespace) -> int:
    """List the secrets of a client, or of all, the latest first, and whether they are good; never the secret itself."""
    return _show(arguments, "secret")


def show_api_keys(arguments: argparse.Namespace) -> int:
    """List the API keys of a client, or of all, as secrets are."""
    return _show(arguments, "api-key")


def _show(arguments: argparse.Namespace, kind: Kind) -> int:
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        if arguments.client is not None:
            client_named(services, arguments.client)
        held = services.credentials.listed(kind=kind, client=arguments.client)
    rows = [_row(one) for one in held]
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(rows[0]), *(list(row.values()) for row in rows)])
    return 0


def _row(held: HeldCredential) -> dict[str, str | None]:
    return {
        "key_id": held.key_id,
        "client": held.client,
        "label": held.label,
        "state": held.state,
        "made": moment_text(held.made_at),
        "expires": None if held.expires_at is None else moment_text(held.expires_at),
        "used": None if held.used_at is None else moment_text(held.used_at),
    }


def revoke(arguments: argparse.Namespace) -> int:
    """Revoke a secret or API key, and say whether that was new."""
    key_id = _key_id(arguments)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        done = services.credentials.revoke(key_id, actor=started.actor)
    if not done.stored:
        complain("the revocation is in force, but the database is away and does not know of it")
    if arguments.json:
        say_json({"key_id": done.key_id, "new": done.new, "stored": done.stored})
    else:
        say(f"{'revoked' if done.new else 'was revoked already'}: {done.key_id}")
    return 0


def _key_id(arguments: argparse.Namespace) -> str:
    given = arguments.key_id
    text = sys.stdin.readline().strip() if given == _FROM_INPUT else given
    key_id = key_id_in(text)
    if key_id is None:
        # Not what was given, which may be most of a secret.
        arguments.parser.error("argument KEY_ID: is neither a key id nor a whole secret or API key")
    return str(key_id)
