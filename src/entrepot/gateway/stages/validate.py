"""validate: Idempotency-Key, media type, size, JSON and its schema. 400 413 415 422."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.errors import BodyTooLarge
from entrepot.gateway.bodies import check_media_type, check_members, check_schema, parse_json
from entrepot.gateway.writes import begin

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange


def validate(exchange: Exchange) -> bool | None:
    """Check what is declared of the body; one that must be read goes on in ``resume_with_body`` when it is whole."""
    operation = exchange.operation
    if operation.rule is not None and exchange.write is None:
        exchange.write = begin(exchange)
    length = exchange.content_length
    if operation.schema is None and length is None and not exchange.chunked:
        return None
    maximum = operation.max_body_bytes
    if length is not None and length > maximum:
        raise BodyTooLarge(f"the body has {length} bytes, at most {maximum} are taken")
    if exchange.chunked and len(exchange.body) > maximum:
        raise BodyTooLarge(f"the body has more than {maximum} bytes")
    # A call without a body is one without arguments.
    is_absent = operation.kind == "call" and length == 0
    if operation.schema is not None and (length is not None or exchange.chunked) and not is_absent:
        check_media_type(exchange.fields, operation.kind)
    if not exchange.body_complete and (
        operation.schema is not None or operation.kind != "relay" or exchange.write is not None
    ):
        # Also a body that nobody wants: a write that has begun must not be answered with 408 for the rest of it.
        exchange.read_body(maximum, exchange.resume_with_body)
        return True
    if operation.schema is None:
        return None
    exchange.document = {} if operation.kind == "call" and not exchange.body else parse_json(exchange.body)
    check_schema(operation.validator, exchange.document)
    if operation.kind == "relay":
        check_members(exchange.body)
    return None
