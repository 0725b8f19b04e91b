"""Signing in and out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entrepot.console.access import session_cookie, shown
from entrepot.console.api.moments import shown as moment
from entrepot.console.rows import Call
from entrepot.identity.sessions import csrf_token

Answer = tuple[dict[str, Any] | None, int, dict[str, str]]


def sign_in(call: Call) -> Answer:
    """Begin a session, always a fresh one: as a cookie, or as a token for scripts."""
    operator = call.console.operators.check(call.body["name"], call.body["password"], call.actor.source)
    is_cookie = call.body.get("cookie", True)
    former = shown()
    begun = call.console.sessions.begin(
        operator, actor=replace(call.actor, name=operator.name), former="" if former is None else former.text
    )
    data = {
        "name": operator.name,
        "role": operator.role,
        "ends_at": moment(begun.ends_at),
        "csrf_token": csrf_token(begun.text) if is_cookie else None,
        "token": None if is_cookie else begun.text,
    }
    return data, 201, {"Set-Cookie": session_cookie(begun.text)} if is_cookie else {}


def show(call: Call) -> dict[str, Any]:
    """Say who is signed in, and give the CSRF token to a page that was loaded anew."""
    caller = call.signed_in
    return {
        "name": caller.operator.name,
        "role": caller.operator.role,
        "ends_at": moment(caller.ends_at),
        "csrf_token": csrf_token(caller.shown.text) if caller.shown.is_cookie else None,
    }


def sign_out(call: Call) -> Answer:
    """End the session that is shown."""
    call.console.sessions.end(call.signed_in.shown.text, actor=call.actor)
    return None, 204, {"Set-Cookie": session_cookie("")}


def change_password(call: Call) -> Answer:
    """Change the password of who is signed in, which ends all sessions of this operator."""
    call.console.operators.change_password(
        call.actor.name, call.body["present"], call.body["password"], actor=call.actor
    )
    return None, 204, {"Set-Cookie": session_cookie("")}
