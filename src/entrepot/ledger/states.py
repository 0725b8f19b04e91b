"""The states of a transaction and the moves between them.

::

    queued ──► sending ──► delivered
      ▲  │        │ ▲
      │  │        ▼ │
      │  │     waiting ───► dead ──► (replay) queued, cancelled (skip)
      │  ▼        │
      └─ held ◄───┘   held: waits for an operator or for its upstream
         │
         ▼
      cancelled

``queued`` has not been tried, ``waiting`` will be tried again. ``delivered``, ``dead`` and ``cancelled`` are finished;
but a ``dead`` one holds those that follow it until an operator replays, cancels or skips it.
"""

from __future__ import annotations

from typing import Literal

State = Literal["queued", "sending", "waiting", "delivered", "dead", "held", "cancelled"]
Applied = Literal["no", "yes", "unknown"]
Reason = Literal["upstream", "conflict", "client", "restore"]

MOVES: dict[State, frozenset[State]] = {
    "queued": frozenset({"sending", "held", "cancelled"}),
    "sending": frozenset({"delivered", "waiting", "queued", "dead", "held"}),
    "waiting": frozenset({"sending", "held", "dead", "cancelled"}),
    "held": frozenset({"queued", "waiting", "cancelled", "dead"}),
    "dead": frozenset({"queued", "waiting", "cancelled"}),
    "delivered": frozenset(),
    "cancelled": frozenset(),
}
"""Where each state may go. A transaction that was handed over by a worker begins as ``sending`` or ``waiting``."""

FINISHED: frozenset[State] = frozenset({"delivered", "dead", "cancelled"})
PASSED: frozenset[State] = frozenset({"delivered", "cancelled"})
"""Those that hold no followers."""
UNFINISHED: frozenset[State] = frozenset(MOVES) - FINISHED
STATES: tuple[State, ...] = tuple(MOVES)


def may_move(before: State, after: State) -> bool:
    """Tell whether a transaction may go from *before* to *after*."""
    return after in MOVES[before]
