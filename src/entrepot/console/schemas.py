"""The JSON schemas of what the admin API takes and answers (JSON Schema 2020-12)."""

from __future__ import annotations

from typing import Any

from entrepot.console.rows import Schema
from entrepot.identity.operators import NAME as OPERATOR_PATTERN
from entrepot.identity.passwords import MAX_CHARS, MIN_CHARS
from entrepot.identity.refused import CUTOFF_KINDS
from entrepot.identity.roles import ROLES
from entrepot.identity.tokens import MAX_LIFETIME_S


def taken(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> dict[str, Any]:
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def answered(**properties: Schema) -> dict[str, Any]:
    """Return the schema of an object that has all these properties, and no others."""
    return taken(dict(properties))


def one_of(*words: str) -> dict[str, Any]:
    """Return the schema of one of *words*."""
    return {"enum": list(words)}


def nullable(schema: Schema) -> dict[str, Any]:
    """Return the schema of what *schema* says, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listed(schema: Schema) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MOMENT: Schema = {"type": "string", "format": "date-time"}
OBJECT: Schema = {"type": "object"}

NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"}
"""Of a partner or client in the catalog."""
OPERATOR_NAME: Schema = {"type": "string", "pattern": f"^{OPERATOR_PATTERN}$"}
ANY_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f]+$"}
"""Of something that may have been in an earlier catalog, or is looked for."""
LABEL: Schema = {"type": "string", "maxLength": 80, "pattern": r"^[ -~]*$"}
TITLE: Schema = {
    "type": "string",
    "maxLength": 255,
    "pattern": r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$",
}
SCOPES: Schema = {
    "type": "array", "items": {"type": "string", "pattern": "^[!#-\\[\\]-~]{1,255}$"}, "maxItems": 200,
    "uniqueItems": True,
}  # fmt: skip
NETWORKS: Schema = {"type": "array", "items": {"type": "string", "maxLength": 50}, "maxItems": 200}
SECONDS: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME_S}
ROLE = one_of(*ROLES)
PASSWORD: Schema = {"type": "string", "minLength": MIN_CHARS, "maxLength": MAX_CHARS, "writeOnly": True}
SHOWN_NAME: Schema = {"type": "string", "maxLength": 255}
SHOWN_PASSWORD: Schema = {"type": "string", "maxLength": MAX_CHARS, "writeOnly": True}
"""Name and password that are compared, and so may be anything."""
TOKEN: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,8192}$", "writeOnly": True}
PLAIN: Schema = {
    "anyOf": [{"type": "string", "maxLength": 1000, "pattern": r"^[^\x00]*$"}, {"type": "number"}, {"type": "boolean"}]
}
VALUES: Schema = {
    "type": "object", "maxProperties": 100, "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,79}$"},
    "additionalProperties": {"anyOf": [PLAIN, {"type": "array", "items": PLAIN, "maxItems": 100}]},
}  # fmt: skip
"""What ``{partner.KEY}`` stands for in templates."""
CHANGED_VALUES: Schema = {
    **VALUES,
    "additionalProperties": {"anyOf": [PLAIN, {"type": "array", "items": PLAIN, "maxItems": 100}, {"type": "null"}]},
}  # fmt: skip
"""Those of them that are to be another, or null: taken away."""
MAX_QUEUED: Schema = {"type": "integer", "minimum": 0, "maximum": 100_000_000}
MAX_QUEUED_BYTES: Schema = {"type": "integer", "minimum": 1, "maximum": 2**40}
RATE = taken(
    {
        "per_second": {"type": "number", "exclusiveMinimum": 0},
        "burst": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    }
)
QUOTA = taken({"day": {"type": "integer", "minimum": 1, "maximum": 1_000_000_000}})

OPERATOR = answered(
    name=STRING, role=ROLE, made_at=MOMENT, password_at=MOMENT, disabled_at=nullable(MOMENT), seen_at=nullable(MOMENT)
)
SESSION = answered(name=STRING, role=ROLE, ends_at=MOMENT, csrf_token=nullable(STRING))
BEGUN = answered(name=STRING, role=ROLE, ends_at=MOMENT, csrf_token=nullable(STRING), token=nullable(STRING))
SWITCH = nullable(answered(since=MOMENT, by=STRING))
ORIGIN = nullable(answered(kind=one_of("file", "console"), place=STRING))
"""Of a file is what is changed there alone, and null what has been taken out of the catalog meanwhile."""
PARTNER = answered(
    name=STRING, title=STRING, values=OBJECT, max_queued=COUNT, max_queued_bytes=COUNT, origin=ORIGIN, disabled=SWITCH
)
CLIENT = answered(
    name=STRING, partner=STRING, scopes=listed(STRING), networks=listed(STRING), plan=nullable(STRING),
    rate=nullable(RATE), quota=nullable(QUOTA), api_keys=BOOLEAN, origin=ORIGIN, disabled=SWITCH,
)  # fmt: skip
REMOVED = answered(
    revision=COUNT, revoked=COUNT, waiting={"type": "object", "additionalProperties": COUNT},
)  # fmt: skip
"""*waiting*: how many accepted writes of each client are held from now on."""
DISABLED = answered(new=BOOLEAN, stored=BOOLEAN, held=COUNT, cancelled=COUNT)
ENABLED = answered(new=BOOLEAN, released=COUNT, partner_disabled=BOOLEAN)
CREDENTIAL_KIND = one_of("secret", "api-key")
CREDENTIAL = answered(
    key_id=STRING, kind=CREDENTIAL_KIND, client=STRING, partner=STRING, label=STRING,
    state=one_of("good", "expired", "revoked"), made_at=MOMENT, made_by=STRING, expires_at=nullable(MOMENT),
    used_at=nullable(MOMENT),
)  # fmt: skip
MADE_CREDENTIAL = answered(
    key_id=STRING, kind=CREDENTIAL_KIND, client=STRING, expires_at=nullable(MOMENT), secret=STRING
)
REVOKED_CREDENTIAL = answered(key_id=STRING, new=BOOLEAN, stored=BOOLEAN)
ISSUED = answered(token=STRING, jti=STRING, client=STRING, scopes=listed(STRING), expires_at=MOMENT)
ISSUED_TOKEN = answered(
    jti=STRING, client=STRING, partner=STRING, scopes=listed(STRING), state=one_of("good", "expired", "revoked"),
    issued_at=MOMENT, expires_at=MOMENT,
)  # fmt: skip
REVOKED_KIND = one_of("jti", *CUTOFF_KINDS)
REVOKED = answered(kind=REVOKED_KIND, value=STRING, new=BOOLEAN, stored=BOOLEAN)
REVOCATION = answered(
    kind=REVOKED_KIND, value=STRING, until=nullable(MOMENT), revoked_at=MOMENT, revoked_by=STRING
)  # fmt: skip
LIFTED = answered(kind=one_of(*CUTOFF_KINDS), value=STRING, until=nullable(MOMENT))
"""*until* is the last second that was refused, null when there was none to lift."""
ROTATED = answered(kid=STRING)
KEY = answered(
    kid=STRING, state=one_of("signing", "verifying"), made_at=MOMENT, rotates_at=nullable(MOMENT),
    needed_until=nullable(MOMENT),
)  # fmt: skip
ENTRY = answered(
    seq=COUNT, at=MOMENT, actor=STRING, face=one_of("command", "console", "portal", "system"), source=STRING,
    operation_id=STRING, action=STRING, kind=STRING, name=STRING, before=nullable(OBJECT), after=nullable(OBJECT),
)  # fmt: skip
