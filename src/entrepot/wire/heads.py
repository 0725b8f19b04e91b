"""Heads that have been read before.

A program that calls again sends the same fields again, byte for byte; only the request line is another. What llhttp and
``framing`` have accepted once as the fields of a request without a body is looked up instead of read again: the request
line alone decides nothing of how a message is framed, and a plain one is checked by one expression.

In the same way the heads of an upstream's answers differ, as a rule, in date and length only.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from entrepot.wire.call import Answer
from entrepot.wire.framing import FRAMING, HEAD_END, Fields

PLAIN_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!\"$-~]*) HTTP/1\.1\r\n")
"""A request line as nearly all are: method and target; the target is a path in visible ASCII, without fragment."""

_MAX_KNOWN = 2048
_MAX_ANSWERS = 512
_MAX_BYTES = 4096
_VARYING = re.compile(
    rb"\r\n(?:[Dd]ate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
    rb"|[Cc]ontent-[Ll]ength: ([0-9]{1,15}))(?=\r\n)"
)
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


class KnownAnswers:
    """By the bytes of a head without date and length: what it says of an answer that has a length.

    At most 512 of up to 4 KiB are kept.
    """

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: dict[tuple[bytes, ...], Answer] = {}

    def find(self, data: bytes) -> tuple[Answer, bytes] | None:
        """Return the answer that *data* is, with its body, when it is exactly one whole answer with a known head."""
        end = data.find(HEAD_END) + 4
        key, length = _cut(data[:end])
        answer = self._answers.get(key)
        return (answer, data[end:]) if answer is not None and length == len(data) - end else None

    def learn(self, head: bytes, answer: Answer) -> None:
        """Remember what *head*, which has a length, says."""
        key, length = _cut(head)
        if length < 0 or len(head) > _MAX_BYTES:
            return
        if len(self._answers) >= _MAX_ANSWERS:
            self._answers.clear()
        self._answers[key] = answer


def _cut(head: bytes) -> tuple[tuple[bytes, ...], int]:
    """Return *head* without its date and its one length, in pieces, and the length; -1 when that is not so plain."""
    parts = _VARYING.split(head)
    if len(parts) == 5:
        before, first, between, second, after = parts
        if first is None and second is not None:
            return (before, b"length", between, after), int(second)
        if second is None and first is not None:
            return (before, between, b"length", after), int(first)
    elif len(parts) == 3 and parts[1] is not None:
        return (parts[0], parts[2]), int(parts[1])
    return (), -1
