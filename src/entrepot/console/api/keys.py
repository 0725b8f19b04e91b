"""The keys that tokens are signed with."""

from __future__ import annotations

from typing import Any

from entrepot.console.api.moments import shown, shown_or_none
from entrepot.console.rows import Call
from entrepot.identity.key_desk import HeldKey


def listing(call: Call) -> list[dict[str, Any]]:
    """List the keys, the newest first."""
    return [_data(key) for key in call.page.of(call.console.services.keys.listed())]


def rotate(call: Call) -> dict[str, str]:
    """Sign with a new key from now on; tokens of the old one are good until they end."""
    return {"kid": call.console.services.keys.rotate(actor=call.actor)}


def _data(key: HeldKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "state": key.state,
        "made_at": shown(key.made_at),
        "rotates_at": shown_or_none(key.due_at),
        "needed_until": shown_or_none(key.ends_at),
    }
