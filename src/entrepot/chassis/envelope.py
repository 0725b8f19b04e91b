"""The envelope of every answer: ``{"meta": {"operation_id": …}, "data": …}``."""

from __future__ import annotations

from typing import Any


def envelope(operation_id: str, data: Any, **meta: Any) -> dict[str, Any]:
    """Return *data* in its envelope; *meta* stands beside the operation id, for example ``pagination``."""
    return {"meta": {"operation_id": operation_id, **meta}, "data": data}


def envelope_bytes(operation_id: bytes, data: bytes, meta: bytes = b"") -> bytes:
    """Return the envelope as JSON, without parsing anything.

    *data* is one JSON value; *meta* is empty or the members of a JSON object without its braces, such as
    ``b'"pagination":{"next":null,"prev":null}'``. *operation_id* must need no escaping, as a uuid does not.
    """
    if meta:
        return b'{"meta":{"operation_id":"%b",%b},"data":%b}' % (operation_id, meta, data)
    return b'{"meta":{"operation_id":"%b"},"data":%b}' % (operation_id, data)
