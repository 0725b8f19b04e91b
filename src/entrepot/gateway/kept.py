"""A relayed answer that is gathered before it goes on, because it may be cached."""

from __future__ import annotations

import re
from collections.abc import Mapping

from entrepot.chassis.etag import strong_etag
from entrepot.gateway.answers import Answer

MAX_KEPT_BYTES = 1_048_576
"""A longer answer is passed on as a stream and not kept."""

OUTAGES = frozenset({500, 502, 503, 504})


def common(fields: Mapping[bytes, bytes], negotiated: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Return what of a request's *fields* may reach the upstream when the answer is kept for others.

    Only the *negotiated* fields, which are part of the key: anything else, a cookie or a made-up field, could change
    the answer that others get. Conditions and ranges are the cache's to answer.
    """
    return {name: fields[name] for name in negotiated if name in fields}


def value_of(name: bytes, block: bytes) -> bytes:
    """Return the values of the field *name* in a *block* of header lines, joined by commas; empty when it has none."""
    return b", ".join(re.findall(rb"(?:^|\r\n)" + re.escape(name) + rb": ([^\r]*)", block))


class Kept:
    """The head of an answer and what has come of its body, at most ``MAX_KEPT_BYTES``."""

    __slots__ = ("_body", "fields", "length", "status")

    def __init__(self, status: int, fields: bytes, length: int | None) -> None:
        self.status = status
        self.fields = fields
        self.length = length
        self._body = bytearray()

    @staticmethod
    def may_be(status: int, fields: bytes, length: int | None, negotiated: tuple[bytes, ...]) -> bool:
        """Tell whether such an answer may be kept for all that sent the same *negotiated* fields (RFC 9111, 3)."""
        if status != 200 or (length or 0) > MAX_KEPT_BYTES or value_of(b"set-cookie", fields):
            return False
        directives = {
            item.strip().partition(b"=")[0] for item in value_of(b"cache-control", fields).lower().split(b",")
        }
        varies = {item.strip() for item in value_of(b"vary", fields).lower().split(b",")} - {b""}
        return directives.isdisjoint({b"no-store", b"no-cache", b"private"}) and varies.issubset(negotiated)

    def add(self, chunk: bytes) -> bool:
        """Take more of the body; False when it has become too long to be kept."""
        self._body += chunk
        return len(self._body) <= MAX_KEPT_BYTES

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return bytes(self._body)

    def answer(self) -> Answer:
        """Return it whole, with the upstream's validator or one of our own."""
        etag = value_of(b"etag", self.fields) or strong_etag(self.body).encode("ascii")
        fields = re.sub(rb"(?:^|(?<=\r\n))etag: [^\r]*\r\n", b"", self.fields)
        return Answer(self.status, fields, self.body, etag=etag)
