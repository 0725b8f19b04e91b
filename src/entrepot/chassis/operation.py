"""The operation id: one uuid4 for a request, in every log line, answer and call that belongs to it."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from weakref import WeakSet

current_operation_id: ContextVar[str | None] = ContextVar("current_operation_id", default=None)
"""The operation id of the request or command that runs in this context (Flask faces and command line)."""

_BLOCK_BYTES = 4096
_UUID_BYTES = 16
_TEXT_BYTES = 36
_HEX_PLACES = tuple(place for place in range(_TEXT_BYTES) if place not in {8, 13, 18, 23})
_VERSION_4 = bytes(value & 0x0F | 0x40 for value in range(256))
_VARIANT_1 = bytes(value & 0x3F | 0x80 for value in range(256))
_CANONICAL = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


class OperationIds:
    """Makes operation ids from blocks of random bytes, many at once, because ``uuid.uuid4`` costs 2 µs each."""

    __slots__ = ("__weakref__", "_ids")

    def __init__(self) -> None:
        self._ids: list[bytes] = []
        _makers.add(self)

    def new(self) -> bytes:
        """Return a fresh uuid4 as 36 bytes of lower-case text; no other process or thread gets the same."""
        while True:
            try:
                return self._ids.pop()
            except IndexError:
                self._ids = _make_block()

    def forget(self) -> None:
        """Drop the ids made in advance; a forked child must not use its parent's."""
        self._ids = []


def is_operation_id(text: bytes) -> bool:
    """Tell whether *text* is a uuid4 in its canonical form of 36 characters, in any case (RFC 9562, section 4)."""
    return _CANONICAL.fullmatch(text) is not None


def _make_block() -> list[bytes]:
    block = bytearray(os.urandom(_BLOCK_BYTES))
    block[6::_UUID_BYTES] = block[6::_UUID_BYTES].translate(_VERSION_4)
    block[8::_UUID_BYTES] = block[8::_UUID_BYTES].translate(_VARIANT_1)
    digits = block.hex().encode()
    # Column by column: 32 strided copies for a whole block cost less than one formatted string per id.
    text = bytearray(b"-" * (_TEXT_BYTES * (_BLOCK_BYTES // _UUID_BYTES)))
    for column, place in enumerate(_HEX_PLACES):
        text[place::_TEXT_BYTES] = digits[column::32]
    whole = bytes(text)
    return [whole[start : start + _TEXT_BYTES] for start in range(0, len(whole), _TEXT_BYTES)]


_makers: WeakSet[OperationIds] = WeakSet()


def _forget_all() -> None:
    for maker in _makers:
        maker.forget()


os.register_at_fork(after_in_child=_forget_all)
