"""The forms that clients send, read as RFC 6749 wants it: nothing twice, nothing in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from flask import Request

from entrepot.portal.errors import OAuthError

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 32
_OURS = frozenset(
    {
        "grant_type", "scope", "client_id", "client_secret", "client_assertion", "token", "token_type_hint",
        "access_token",
    }
)  # fmt: skip


def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of the form in the body of *request*; one without a value is as one that is not there.

    Raises OAuthError (``invalid_request``) for another media type, a field that stands twice, and our parameters in the
    URL, where logs would keep them (RFC 6749, sections 2.3.1 and 3.2).
    """
    if request.mimetype != FORM_TYPE:
        raise OAuthError(f"the body must be of the type {FORM_TYPE}")
    misplaced = sorted(_OURS & set(request.args))
    if misplaced:
        raise OAuthError(f"{misplaced[0]} must stand in the body, never in the URL")
    return _unique(_pairs(request.get_data()))


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError as exc:
        raise OAuthError(f"the body is not a form of at most {MAX_FIELDS} fields in UTF-8") from exc


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        shown = twice if twice in _OURS else "a parameter"
        raise OAuthError(f"{shown} stands in the body more than once")
    return {name: value for name, value in fields.items() if value}
