"""Prefer and Preference-Applied (RFC 7240): ``respond-async`` alone means something here."""

from __future__ import annotations

import re

APPLIED = b"preference-applied: respond-async\r\n"
MAX_BYTES = 1024
"""A longer value asks for nothing."""

# A caller writes what these read, so no two parts of them fit the same bytes: each is read once. A quoted string
# without an end takes all that follows.
_ASYNC = re.compile(rb"\s*respond-async\s*(?:=\s*(?:\"\"\s*)?)?(?:;.*)?", re.IGNORECASE | re.DOTALL)
_ITEMS = re.compile(rb"(?:[^,\"]|\"(?:[^\"\\]|\\.?)*\"?)+", re.DOTALL)


def wants_async(prefer: bytes | None) -> bool:
    """Tell whether the value of ``Prefer`` asks for an answer before the work is done. Nonsense asks for nothing."""
    if prefer is None or len(prefer) > MAX_BYTES:
        return False
    return any(_ASYNC.fullmatch(item) for item in _ITEMS.findall(prefer))
