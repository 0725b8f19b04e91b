"""Paths that can be trusted: what the gateway matches is what an upstream will see.

A path with a dot segment, an empty segment or a control character is refused, and so is an encoded slash or backslash
in what a relay passes on: it would mean one thing to the gateway and another to the upstream (RFC 3986, section 7.3;
OWASP path traversal). In the key of a record they are letters like any other.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from entrepot.errors import BadRequest

_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&'()*+,;=:@.-]*)+/?")
_ENCODED = re.compile(rb"%(?:[0-9A-Fa-f]{2})")
_CONTROL = frozenset(bytes(range(32)) + b"\x7f")
_SEPARATOR = frozenset(b"/\\")


def check_path(path: bytes) -> None:
    """Raise BadRequest for a *path*, still percent-encoded, that could be read in two ways."""
    if _PLAIN.fullmatch(path) is None and path != b"/":
        _check_segments(path)


def _check_segments(path: bytes) -> None:
    segments = path.split(b"/")[1:]
    for index, segment in enumerate(segments):
        if not segment and index + 1 < len(segments):
            raise BadRequest("the path has an empty segment")
        if segment.count(b"%") != len(_ENCODED.findall(segment)):
            raise BadRequest("the path has a broken percent-encoding")
        decoded = unquote_to_bytes(segment)
        if decoded in {b".", b".."}:
            raise BadRequest("the path has a dot segment")
        if b"\\" in segment or not _CONTROL.isdisjoint(decoded):
            raise BadRequest("the path has a backslash or control character")
        try:
            decoded.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadRequest("the path is not UTF-8") from exc


def check_relayed(values: tuple[bytes, ...]) -> None:
    """Raise BadRequest when one of the path *values*, still encoded, hides a separator from the gateway."""
    for value in values:
        if b"%" in value and any(not _SEPARATOR.isdisjoint(unquote_to_bytes(part)) for part in value.split(b"/")):
            raise BadRequest("the path has an encoded slash or backslash")


def can_stand_in_path(text: str) -> bool:
    """Tell whether *text*, encoded, can be a segment that ``check_path`` lets through."""
    return text not in {"", ".", ".."} and _CONTROL.isdisjoint(text.encode())
