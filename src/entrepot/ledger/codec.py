"""How values stand in the columns of the ledger: JSON."""

from __future__ import annotations

import base64

import orjson

from entrepot.ledger.entries import Gone, Json, KeptAnswer

MAX_ANSWER_BYTES = 1_048_576
"""A longer answer is not kept: neither for a key, nor as the result of a delivery."""


def text_of(value: Json) -> str:
    """Return *value* as the text of a column."""
    return orjson.dumps(value).decode()


def text_or_none(value: Json | None) -> str | None:
    """Return *value* as the text of a column that may be null."""
    return None if value is None else orjson.dumps(value).decode()


def value_of(text: str | None) -> Json:
    """Return what *text* says, None for a column that is null."""
    return None if text is None else orjson.loads(text)


def bare(answer: KeptAnswer, why: Gone) -> KeptAnswer:
    """Return what is left of *answer* when nothing of its contents is kept."""
    return KeptAnswer(answer.status, gone=why)


def bounded(answer: KeptAnswer) -> KeptAnswer:
    """Return *answer*, or what is left of it when it is longer than MAX_ANSWER_BYTES."""
    return bare(answer, "room") if len(answer.fields) + len(answer.body) > MAX_ANSWER_BYTES else answer


def kept_bytes(answer: KeptAnswer | None) -> bytes | None:
    """Return *answer* as the bytes of a column. A body that is no UTF-8 is in base64; header lines are in Latin-1."""
    if answer is None:
        return None
    if answer.gone is not None:
        return orjson.dumps({"status": answer.status, "gone": answer.gone})
    kept: dict[str, Json] = {"status": answer.status, "fields": answer.fields.decode("latin-1")}
    try:
        kept["body"] = answer.body.decode()
    except UnicodeDecodeError:
        kept["base64"] = base64.b64encode(answer.body).decode()
    return orjson.dumps(kept)


def kept_answer(stored: bytes | None) -> KeptAnswer | None:
    """Return the answer that ``kept_bytes`` made *stored* of."""
    if stored is None:
        return None
    kept = orjson.loads(stored)
    if "gone" in kept:
        return KeptAnswer(kept["status"], gone=kept["gone"])
    body = base64.b64decode(kept["base64"]) if "base64" in kept else kept["body"].encode()
    return KeptAnswer(kept["status"], kept["fields"].encode("latin-1"), body)
