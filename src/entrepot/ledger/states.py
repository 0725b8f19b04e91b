"""The states of a transaction and the moves between them.

::

    queued ───► sending ───► delivered
      ▲  │       │ ▲ │
      │  │       │ │ └─────► dead ───► (replay) queued or waiting, (skip) cancelled
      │  │       ▼ │
      │  │     waiting
      │  ▼       │ ▲
      └─ held ◄──┘ │     held: waits for an operator, or for its upstream; when it goes on,
           └───────┘     it is waiting if it may have been applied

    sending ───► queued, held     given back untried, or its upstream cannot take it
    queued, waiting, held, dead ───► cancelled

``queued`` has not been tried, ``waiting`` will be tried again. ``delivered``, ``dead`` and ``cancelled`` are finished;
but a ``dead`` one holds those that follow it until an operator replays, cancels or skips it.
"""

from __future__ import annotations

from typing import Final, Literal

State = Literal["queued", "sending", "waiting", "delivered", "dead", "held", "cancelled"]
Applied = Literal["no", "yes", "unknown"]
Reason = Literal["upstream", "conflict", "client", "restore"]

QUEUED: Final = "queued"
SENDING: Final = "sending"
WAITING: Final = "waiting"
DELIVERED: Final = "delivered"
DEAD: Final = "dead"
HELD: Final = "held"
CANCELLED: Final = "cancelled"

MOVES: dict[State, frozenset[State]] = {
    QUEUED: frozenset({SENDING, HELD, CANCELLED}),
    SENDING: frozenset({DELIVERED, WAITING, QUEUED, DEAD, HELD}),
    WAITING: frozenset({SENDING, HELD, CANCELLED}),
    HELD: frozenset({QUEUED, WAITING, CANCELLED}),
    DEAD: frozenset({QUEUED, WAITING, CANCELLED}),
    DELIVERED: frozenset(),
    CANCELLED: frozenset(),
}
"""Where each state may go. A transaction that a worker handed over begins as ``waiting``; when its call ends well after
all, it goes through ``sending``, also if it was held meanwhile."""

STATES: tuple[State, ...] = tuple(MOVES)
FINISHED: frozenset[State] = frozenset({DELIVERED, DEAD, CANCELLED})
UNFINISHED: tuple[State, ...] = tuple(state for state in STATES if state not in FINISHED)
PASSED: frozenset[State] = frozenset(state for state in STATES if not MOVES[state])
"""Those that hold no followers."""
READY: tuple[State, ...] = tuple(state for state in STATES if SENDING in MOVES[state])
"""Those that a courier takes when they are due."""
CANCELLABLE: tuple[State, ...] = tuple(state for state in STATES if CANCELLED in MOVES[state])
STOPPED: tuple[State, ...] = (DEAD, HELD)
"""Those that go no further before somebody lets them go, or gives them up."""


def may_move(before: State, after: State) -> bool:
    """Tell whether a transaction may go from *before* to *after*."""
    return after in MOVES[before]
