"""How often a secret may be wrong before the answer is "later": the right one is let in all the same."""

from __future__ import annotations

import logging
import struct
from hashlib import blake2b

from entrepot.chassis.mutex import SharedStateError
from entrepot.chassis.shared import SharedState
from entrepot.errors import TooManyRequests
from entrepot.identity.budget import network_of

log = logging.getLogger(__name__)

MAX_NAME_CHARS = 255
ROOMS = 2048
# Words of a room: since when (as a float), how often (as a float), whose.
_COUNT, _MARK = 1, 2


class Attempts:
    """Counts wrong secrets of a name from a network, over all processes: at most *most* in each *window_s*.

    Counts of another *purpose* are others. Whoever asks checks the secret first, for which a hash is enough, and tells
    of the failure afterwards: so nobody else's failures lock the true client out. There is place for *rooms* counts, in
    *shared*: a new one may take that of another, and nobody outside can tell whose. For several threads.
    """

    def __init__(
        self, shared: SharedState, purpose: str, *, most: int = 10, window_s: float = 60.0, rooms: int = ROOMS
    ) -> None:
        self._shared = shared
        self._purpose = purpose
        self._most = most
        self._window_s = window_s
        self._rooms = rooms

    def failed(self, name: str, source: str, now: float) -> None:
        """Count a wrong secret of *name* from the address *source* at *now* (``time.monotonic``).

        Raises TooManyRequests when there were too many before. Without room in the shared state it is only logged.
        """
        try:
            slot, mark = self._room(name, source)
        except SharedStateError as error:
            log.error("wrong secrets are not counted", extra={"reason": str(error)})
            return
        cells, words = self._shared.cells, self._shared.words
        with self._shared.mutex(slot):
            since, count = cells[slot], cells[slot + _COUNT]
            if words[slot + _MARK] != mark or now - since >= self._window_s:
                since, count = now, 0.0
            cells[slot], cells[slot + _COUNT], words[slot + _MARK] = since, count + 1.0, mark
        if count >= self._most:
            raise TooManyRequests(
                "too many wrong secrets of this name from this network", retry_after_s=since + self._window_s - now
            )

    def forget(self, name: str, source: str) -> None:
        """Begin the count of *name* from *source* anew: for those who count before they check, what is dear."""
        try:
            slot, mark = self._room(name, source)
        except SharedStateError:
            return  # it was not counted
        with self._shared.mutex(slot):
            if self._shared.words[slot + _MARK] == mark:
                self._shared.cells[slot + _COUNT] = 0.0

    def _room(self, name: str, source: str) -> tuple[int, int]:
        """Return the cell where *name* and *source* are counted, and the mark of them."""
        whose = f"{self._purpose}\0{name[:MAX_NAME_CHARS]}\0{network_of(source)}".encode(errors="replace")
        # By a key that nobody outside knows: else one could look for a name that takes a count's place.
        mark, number = struct.unpack("=qI", blake2b(whose, digest_size=12, key=self._shared.epoch).digest())
        return self._shared.slot(f"attempts:{self._purpose}:{number % self._rooms}"), mark
