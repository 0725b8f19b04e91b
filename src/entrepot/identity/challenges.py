"""How callers are told what to show: the header WWW-Authenticate (RFC 6750, section 3), the same on every face.

Who has shown nothing, or something of another scheme, gets no error code: it may not have known (section 3.1).
"""

from __future__ import annotations

REALM = "entrepot"

Headers = tuple[tuple[str, str], ...]


def challenge(error: str = "", scope: str = "") -> Headers:
    """Return the header for *error*, a code of RFC 6750; empty: nothing was shown. *scope* is what would do."""
    given = {"realm": REALM, "error": error, "scope": scope}
    return (("www-authenticate", "Bearer " + ", ".join(f'{name}="{text}"' for name, text in given.items() if text)),)


NOTHING_SHOWN = challenge()
INVALID_TOKEN = challenge("invalid_token")
INVALID_REQUEST = challenge("invalid_request")
