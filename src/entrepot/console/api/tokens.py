"""Access tokens, and what is revoked of them."""

from __future__ import annotations

from typing import Any

from entrepot.chassis.errors import Mistake
from entrepot.console.api.callers import client_named
from entrepot.console.api.moments import read, shown, shown_or_none
from entrepot.console.rows import Call
from entrepot.errors import BadRequest, InvalidBody, InvalidToken
from entrepot.identity.desk import Held, Lifted, Revoked
from entrepot.identity.refused import Revocation

Data = dict[str, Any]


def listing(call: Call) -> list[Data]:
    """List the tokens that were issued, the latest first, and whether they are good."""
    page = call.page
    found = call.console.services.desk.issued(
        client=call.query.get("client"), partner=call.query.get("partner"), offset=page.offset, limit=page.wanted
    )
    return [_data(token) for token in found]


def issue(call: Call) -> Data:
    """Issue a token, and show it this once."""
    services, body = call.console.services, call.body
    limits = services.settings.tokens
    expires_s = body.get("expires_in", limits.expires_s)
    if expires_s > limits.max_expires_s:
        raise BadRequest(f"expires_in: at most {limits.max_expires_s:g} seconds ([tokens] max_expires)")
    client = client_named(call, body["client"])
    token = services.desk.issue(client, scopes=body.get("scopes"), expires_s=expires_s, actor=call.actor)
    return {
        "token": token.token,
        "jti": token.jti,
        "client": client.name,
        "scopes": sorted(token.scopes),
        "expires_at": shown(token.expires_at),
    }


def revoke(call: Call) -> Data:
    """Revoke a token by its jti, or all that were issued so far to a client or partner."""
    body = call.body
    if body["kind"] == "jti" and "before" in body:
        raise BadRequest("before: goes with a client or partner; a token is refused whenever it was issued")
    done = call.console.services.desk.revoke(body["kind"], body["value"], actor=call.actor, before=_before(call))
    return _revoked(done)


def revoke_token(call: Call) -> Data:
    """Revoke the token that is shown."""
    try:
        return _revoked(call.console.services.desk.revoke_token(call.body["token"].encode(), actor=call.actor))
    except InvalidToken as exc:
        # 401 would be about the session of the operator.
        raise InvalidBody("the body has 1 mistake", errors=[Mistake(f"is no token of ours: {exc}", "/token")]) from exc


def revoke_all(call: Call) -> Data:
    """Revoke all tokens that were issued so far, of everybody."""
    return _revoked(call.console.services.desk.revoke("all", "", actor=call.actor, before=_before(call)))


def lift(call: Call) -> Data:
    """Take back that all of a client or partner is refused up to a time."""
    return _lifted(call.console.services.desk.lift(call.body["kind"], call.body["value"], actor=call.actor))


def lift_all(call: Call) -> Data:
    """Take back that all of everybody is refused up to a time."""
    return _lifted(call.console.services.desk.lift("all", "", actor=call.actor))


def revocations(call: Call) -> list[Data]:
    """List what is revoked, the latest first."""
    page = call.page
    return [_revocation(each) for each in call.console.services.desk.revoked(offset=page.offset, limit=page.wanted)]


def _before(call: Call) -> float | None:
    moment = read(call.body, "before")
    return None if moment is None else moment.timestamp()


def _revoked(done: Revoked) -> Data:
    return {"kind": done.kind, "value": done.value, "new": done.new, "stored": done.stored}


def _lifted(done: Lifted) -> Data:
    return {"kind": done.kind, "value": done.value, "until": shown_or_none(done.until)}


def _data(held: Held) -> Data:
    claims = held.claims
    return {
        "jti": claims.jti,
        "client": claims.client,
        "partner": claims.partner,
        "scopes": sorted(claims.scopes),
        "state": held.state,
        "issued_at": shown(claims.issued_at),
        "expires_at": shown(claims.expires_at),
    }


def _revocation(found: Revocation) -> Data:
    return {
        "kind": found.kind,
        "value": found.value,
        "until": shown_or_none(found.cutoff),
        "revoked_at": shown(found.revoked_at),
        "revoked_by": found.by,
    }
