"""Paths that can be trusted: what the gateway matches is what an upstream will see.

A path with a dot segment, an empty segment, an encoded slash, backslash or control character would mean one thing to
the gateway and another to the upstream, so it is refused (RFC 3986, section 7.3; OWASP path traversal).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from entrepot.errors import BadRequest

_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&'()*+,;=:@.-]*)+/?")
_ENCODED = re.compile(rb"%(?:[0-9A-Fa-f]{2})")
_FORBIDDEN = frozenset(b'/\\"<>^`{|}' + bytes(range(32)) + b"\x7f")


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
        if not _FORBIDDEN.isdisjoint(decoded):
            raise BadRequest("the path has an encoded slash, backslash or control character")
        try:
            decoded.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadRequest("the path is not UTF-8") from exc
