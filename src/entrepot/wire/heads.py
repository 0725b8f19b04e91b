"""Fields that have been read before.

A program that calls again sends the same fields again, byte for byte; only the request line is another. What llhttp and
``framing`` have accepted once as the fields of a request without a body is looked up instead of read again: the request
line alone decides nothing of how a message is framed, and a plain one is checked by one expression.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from entrepot.wire.framing import FRAMING, Fields

PLAIN_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!\"$-~]*) HTTP/1\.1\r\n")
"""A request line as nearly all are: method and target; the target is a path in visible ASCII, without fragment."""

_MAX_KNOWN = 2048
_MAX_BYTES = 4096
_UNFRAMED = FRAMING - {b"connection"}


class KnownFields(NamedTuple):
    """The *fields* of requests, not to be changed, and *notes*: what their readers made of them, by a key of their own.

    What a reader notes must follow from the fields alone.
    """

    fields: Fields
    notes: dict[Any, Any]


class KnownHeads(dict[bytes, KnownFields]):
    """By the bytes of a head behind its first line: what they say of an HTTP/1.1 request that has no body."""

    def learn(self, block: bytes, known: KnownFields) -> None:
        """Remember *block*, unless it says something of a body; at most 2048 of up to 4 KiB are kept."""
        if len(block) > _MAX_BYTES or not _UNFRAMED.isdisjoint(known.fields):
            return
        if len(self) >= _MAX_KNOWN:
            self.clear()
        self[block] = known
