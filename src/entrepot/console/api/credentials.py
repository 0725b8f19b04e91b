"""The secrets and API keys of clients."""

from __future__ import annotations

from typing import Any

from entrepot.console.api.callers import client_named
from entrepot.console.api.moments import shown, shown_or_none
from entrepot.console.rows import Call
from entrepot.identity.credential import FOREVER, KINDS
from entrepot.identity.credentials import HeldCredential


def listing(call: Call) -> list[dict[str, Any]]:
    """List secrets and API keys, the latest first, and whether they are good."""
    query, page = call.query, call.page
    kind = next((each for each in KINDS if each == query.get("kind")), None)
    found = call.console.services.credentials.listed(
        kind=kind, client=query.get("client"), partner=query.get("partner"), offset=page.offset, limit=page.wanted
    )
    return [_data(credential) for credential in found]


def make(call: Call) -> dict[str, Any]:
    """Make a secret or an API key, and show it this once."""
    body = call.body
    made = call.console.services.credentials.make(
        body["kind"], client_named(call, body["client"]), label=body.get("label", ""),
        expires_s=body.get("expires_in"), actor=call.actor,
    )  # fmt: skip
    return {
        "key_id": made.key_id,
        "kind": body["kind"],
        "client": made.client,
        "expires_at": None if made.expires_at == FOREVER else shown(made.expires_at),
        "secret": made.text,
    }


def revoke(call: Call) -> dict[str, Any]:
    """Refuse a secret or an API key from now on."""
    done = call.console.services.credentials.revoke(call.names["key_id"], actor=call.actor)
    return {"key_id": done.key_id, "new": done.new, "stored": done.stored}


def _data(credential: HeldCredential) -> dict[str, Any]:
    return {
        "key_id": credential.key_id,
        "kind": credential.kind,
        "client": credential.client,
        "partner": credential.partner,
        "label": credential.label,
        "state": credential.state,
        "made_at": shown(credential.made_at),
        "made_by": credential.made_by,
        "expires_at": shown_or_none(credential.expires_at),
        "used_at": shown_or_none(credential.used_at),
    }
