"""What a peer of the server may ask for, and how long a pool waits for whom; in bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server connection; times in seconds, sizes in bytes.

    *header_timeout_s* runs from the first byte of a head to its last (408). A body gets *body_timeout_s* and one more
    second for every 16 KiB received (408). *idle_timeout_s* ends a connection without a request. A peer that takes
    less than *buffer_bytes* of an answer in *write_timeout_s* is cut. *half_close_s*: how long a peer that has closed
    its side is still owed an answer that has not begun; after that it counts as gone, because a half-closed
    connection and a closed one look the same. *buffer_bytes* bounds what is held for a peer in each direction:
    requests sent ahead, a body that nobody takes yet, an answer that is not read.
    """

    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 60.0
    half_close_s: float = 1.0
    linger_s: float = 2.0
    max_header_bytes: int = 16_384
    max_target_bytes: int = 8_192
    max_fields: int = 100
    buffer_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a pool waits, in seconds: *connect_s* for a connection, *idle_s* before it closes one without a request.

    *body_s* is the upstream's while a body is streamed to it: whenever it stops reading, and from the end of the body
    until its answer is complete. While the sender owes body, no time of the upstream's runs. *pause_s* is how long a
    call may keep one answer paused altogether, because it holds a connection of the upstream for so long.
    """

    connect_s: float = 3.0
    idle_s: float = 20.0
    body_s: float = inf
    pause_s: float = 60.0
