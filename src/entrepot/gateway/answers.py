"""Answers of the gateway itself: a status, a block of header lines, a body."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import orjson

from entrepot.chassis.errors import PROBLEM_TYPE, Error, problem
from entrepot.ledger.entries import Gone

JSON_TYPE = b"content-type: application/json\r\n"
WHY_GONE: dict[Gone, str] = {
    "room": "The answer was given; it was too long to be kept, or there was no room for it.",
    "erased": "The answer was given; it has been erased.",
}
"""Why a kept answer has nothing but its status."""
PROBLEM_FIELDS = b"content-type: " + PROBLEM_TYPE.encode("ascii") + b"\r\n"


@dataclass(slots=True)
class Answer:
    """An answer on its way out. *fields* are header lines, each ended by CRLF.

    For data of an endpoint *data* and *meta* hold the serialised parts of the envelope and *body* is made of them late,
    because it names the operation; otherwise *body* is all.
    """

    status: int
    fields: bytes = b""
    body: bytes = b""
    data: bytes | None = None
    meta: bytes = b""
    etag: bytes = b""


Outcome = Answer | Error
"""What comes of a call to an upstream."""


def problem_answer(error: Error, operation_id: str) -> Answer:
    """Return *error* as ``application/problem+json`` with the header fields that it asks for."""
    lines = [PROBLEM_FIELDS]
    if error.retry_after_s is not None:
        lines.append(b"retry-after: %d\r\n" % max(1, ceil(error.retry_after_s)))
    lines.extend(f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in error.headers)
    return Answer(error.status, b"".join(lines), orjson.dumps(problem(error, operation_id)))


def json_answer(status: int, document: Any) -> Answer:
    """Return *document* as JSON, without an envelope (health, status)."""
    return Answer(status, JSON_TYPE, orjson.dumps(document))


def data_answer(status: int, data: Any, *, meta: bytes = b"", fields: bytes = b"") -> Answer:
    """Return *data* of an endpoint for the envelope; *meta* is serialised members beside the operation id."""
    return Answer(status, JSON_TYPE + fields, data=orjson.dumps(data), meta=meta)
