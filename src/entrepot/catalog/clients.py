"""The clients of a snapshot, made when they are asked for: there may be a hundred thousand, of which few ever call."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

import orjson

from entrepot.catalog.codec import decode, encode
from entrepot.identity.partners import Client

# The name is the first field of a client, and has no default.
_NAME = re.compile(rb'^\{"name":("(?:[^"\\]|\\.)*")', re.MULTILINE)
_END = re.compile(rb"\n")


class Clients(Mapping[str, Client]):
    """The clients in *lines*, which ``client_lines`` has made. A look costs some microseconds and keeps nothing."""

    __slots__ = ("_lines", "_starts")

    def __init__(self, lines: bytes) -> None:
        self._lines = lines
        self._starts = array("Q", (0, *(found.end() for found in _END.finditer(lines))))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __iter__(self) -> Iterator[str]:
        return (orjson.loads(found[1]) for found in _NAME.finditer(self._lines))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __getitem__(self, name: str) -> Client:
        line = self._find(name)
        if line is None:
            raise KeyError(name)
        return decode(Client, orjson.loads(line))

    def _find(self, name: str) -> bytes | None:
        try:
            # The name with its quotation marks: no other line begins so.
            head = b'{"name":%b' % orjson.dumps(name)
        except orjson.JSONEncodeError:
            return None  # text that no file can hold
        at = bisect_left(range(len(self)), head, key=lambda number: self._line(number)[: len(head)])
        line = self._line(at) if at < len(self) else b""
        return line if line.startswith(head) else None

    def _line(self, number: int) -> bytes:
        return self._lines[self._starts[number] : self._starts[number + 1]]


def client_lines(clients: Iterable[Client]) -> bytes:
    """Return *clients* as lines of JSON, in the order of their bytes."""
    return b"".join(sorted(orjson.dumps(encode(client)) + b"\n" for client in clients))
