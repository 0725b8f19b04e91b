"""The one table of the admin API: every resource and method, who may, what it takes, what it answers.

Access, checks of input and the OpenAPI document are made of it; what is not in it does not exist.
"""

from __future__ import annotations

from entrepot.console import schemas as s
from entrepot.console.api import audit, callers, credentials, keys, operators, sessions, tokens
from entrepot.console.openapi import description
from entrepot.console.rows import Call, Row
from entrepot.identity.refused import CALLER_KINDS

PREFIX = "/api/v1"

_SESSIONS = (
    Row("POST", "/session", "Sign in: a cookie for browsers, or with cookie false a token for scripts", None,
        sessions.sign_in, s.BEGUN, status=201, refusals=(401, 429),
        body=s.taken({"name": s.SHOWN_NAME, "password": s.SHOWN_PASSWORD}, {"cookie": s.BOOLEAN})),
    Row("GET", "/session", "Say who is signed in", "viewer", sessions.show, s.SESSION),
    Row("DELETE", "/session", "Sign out", "viewer", sessions.sign_out, status=204),
    Row("PUT", "/session/password", "Change one's own password, and sign out everywhere", "viewer",
        sessions.change_password, status=204, refusals=(429,),
        body=s.taken({"present": s.SHOWN_PASSWORD, "password": s.PASSWORD})),
)  # fmt: skip
_CALLERS = (
    Row("GET", "/partners", "List partners", "viewer", callers.partners, s.PARTNER, pages=True),
    Row("POST", "/partners", "Add a partner to the catalog", "editor", callers.add_partner, s.PARTNER, status=201,
        refusals=(409,),
        body=s.taken({"name": s.NAME, "title": s.TITLE},
                     {"values": s.VALUES, "max_queued": s.MAX_QUEUED, "max_queued_bytes": s.MAX_QUEUED_BYTES})),
    Row("GET", "/partners/<name>", "Show a partner", "viewer", callers.partner, s.PARTNER),
    Row("PATCH", "/partners/<name>", "Change what is given of a partner that no file defines; null takes it away",
        "editor", callers.change_partner, s.PARTNER, refusals=(409,),
        body=s.taken({}, {"title": s.TITLE, "values": s.CHANGED_VALUES, "max_queued": s.nullable(s.MAX_QUEUED),
                          "max_queued_bytes": s.nullable(s.MAX_QUEUED_BYTES)})),
    Row("DELETE", "/partners/<name>", "Take a partner that no file defines away, with all of its clients and what they "
        "get in with", "editor", callers.remove_partner, s.REMOVED, refusals=(409,)),
    Row("POST", "/partners/<name>/disable", "Shut a partner out within a second", "editor", callers.disable_partner,
        s.DISABLED, body=s.taken({}, {"cancel_queued": s.BOOLEAN})),
    Row("POST", "/partners/<name>/enable", "Let a partner in again", "editor", callers.enable_partner, s.ENABLED),
    Row("GET", "/clients", "List clients", "viewer", callers.clients, s.CLIENT, query={"partner": s.ANY_NAME},
        pages=True),
    Row("POST", "/clients", "Add a client to a partner that no file defines", "editor", callers.add_client, s.CLIENT,
        status=201, refusals=(404, 409),
        body=s.taken({"name": s.NAME, "partner": s.NAME, "scopes": s.SCOPES},
                     {"networks": s.NETWORKS, "plan": s.NAME, "rate": s.RATE, "quota": s.QUOTA,
                      "api_keys": s.BOOLEAN})),
    Row("GET", "/clients/<name>", "Show a client", "viewer", callers.client, s.CLIENT),
    Row("PATCH", "/clients/<name>", "Change what is given of a client that no file defines; null takes it away",
        "editor", callers.change_client, s.CLIENT, refusals=(409,),
        body=s.taken({}, {"scopes": s.SCOPES, "networks": s.nullable(s.NETWORKS), "plan": s.nullable(s.NAME),
                          "rate": s.nullable(s.RATE), "quota": s.nullable(s.QUOTA), "api_keys": s.BOOLEAN})),
    Row("DELETE", "/clients/<name>", "Take a client that no file defines away, with what it gets in with", "editor",
        callers.remove_client, s.REMOVED, refusals=(409,)),
    Row("POST", "/clients/<name>/disable", "Shut a client out within a second", "editor", callers.disable_client,
        s.DISABLED, body=s.taken({}, {"cancel_queued": s.BOOLEAN})),
    Row("POST", "/clients/<name>/enable", "Let a client in again", "editor", callers.enable_client, s.ENABLED),
)  # fmt: skip
_GETTING_IN = (
    Row("GET", "/credentials", "List secrets and API keys, without what is secret of them", "viewer",
        credentials.listing, s.CREDENTIAL, pages=True,
        query={"client": s.ANY_NAME, "partner": s.ANY_NAME, "kind": s.CREDENTIAL_KIND}),
    Row("POST", "/credentials", "Make a secret or an API key, and show it this once", "editor", credentials.make,
        s.MADE_CREDENTIAL, status=201, refusals=(404, 409),
        body=s.taken({"client": s.NAME, "kind": s.CREDENTIAL_KIND}, {"label": s.LABEL, "expires_in": s.SECONDS})),
    Row("DELETE", "/credentials/<key_id>", "Refuse a secret or an API key within a second", "editor",
        credentials.revoke, s.REVOKED_CREDENTIAL),
    Row("GET", "/tokens", "List the access tokens that were issued", "viewer", tokens.listing, s.ISSUED_TOKEN,
        query={"client": s.ANY_NAME, "partner": s.ANY_NAME}, pages=True),
    Row("POST", "/tokens", "Issue an access token, and show it this once", "editor", tokens.issue, s.ISSUED,
        status=201, refusals=(404, 409),
        body=s.taken({"client": s.NAME}, {"scopes": s.SCOPES, "expires_in": s.SECONDS})),
    Row("GET", "/revocations", "List what was revoked", "viewer", tokens.revocations, s.REVOCATION, pages=True),
    Row("POST", "/revocations", "Refuse a token by its jti, or all so far of a client or partner, within a second",
        "editor", tokens.revoke, s.REVOKED,
        body=s.taken({"kind": s.one_of("jti", *CALLER_KINDS), "value": s.ANY_NAME}, {"before": s.MOMENT})),
    Row("POST", "/revocations/lift",
        "Take back that all of a client or partner is refused up to a time, within a second", "editor", tokens.lift,
        s.LIFTED, body=s.taken({"kind": s.one_of(*CALLER_KINDS), "value": s.ANY_NAME})),
    Row("POST", "/revocations/token", "Refuse this token within a second", "editor", tokens.revoke_token, s.REVOKED,
        body=s.taken({"token": s.TOKEN})),
    Row("POST", "/revocations/all", "Refuse all tokens so far, of everybody, within a second", "admin",
        tokens.revoke_all, s.REVOKED, body=s.taken({}, {"before": s.MOMENT})),
    Row("POST", "/revocations/all/lift", "Take back that all of everybody is refused up to a time, within a second",
        "admin", tokens.lift_all, s.LIFTED),
    Row("GET", "/keys", "List the keys that tokens are signed with", "viewer", keys.listing, s.KEY, pages=True),
    Row("POST", "/keys", "Sign tokens with a new key from now on", "admin", keys.rotate, s.ROTATED, status=201),
)  # fmt: skip
_OPERATORS = (
    Row("GET", "/operators", "List the accounts of operators", "admin", operators.listing, s.OPERATOR, pages=True),
    Row("POST", "/operators", "Make an account", "admin", operators.add, s.OPERATOR, status=201, refusals=(409, 429),
        body=s.taken({"name": s.OPERATOR_NAME, "role": s.ROLE, "password": s.PASSWORD})),
    Row("GET", "/operators/<name>", "Show an account", "admin", operators.show, s.OPERATOR),
    Row("PUT", "/operators/<name>/role", "Give another's account another role", "admin", operators.change_role,
        s.OPERATOR, refusals=(409,), body=s.taken({"role": s.ROLE})),
    Row("PUT", "/operators/<name>/password", "Give another's account another password", "admin",
        operators.set_password, s.OPERATOR, refusals=(409, 429), body=s.taken({"password": s.PASSWORD})),
    Row("POST", "/operators/<name>/disable", "Let another's account in no more", "admin", operators.disable,
        s.OPERATOR, refusals=(409,)),
    Row("POST", "/operators/<name>/enable", "Let an account in again", "admin", operators.enable, s.OPERATOR),
    Row("GET", "/audit", "List who changed what, the latest first", "viewer", audit.listing, s.ENTRY, pages=True,
        query={"actor": s.ANY_NAME, "action": s.ANY_NAME, "kind": s.ANY_NAME, "name": s.ANY_NAME,
               "since": s.MOMENT, "until": s.MOMENT}),
)  # fmt: skip


def _describe(_call: Call) -> object:
    return description(TABLE, PREFIX)


TABLE: tuple[Row, ...] = (
    *_SESSIONS,
    *_CALLERS,
    *_GETTING_IN,
    *_OPERATORS,
    Row("GET", "/openapi.json", "Describe this API (OpenAPI 3.1)", None, _describe, s.OBJECT, is_raw=True),
)
