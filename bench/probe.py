"""A change of the catalog under the eyes of a client that never stops asking."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass

from figures import BenchError
from subject import Subject, apply

_IN_FORCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """What a change cost.

    *in_force_s* is counted from when the new snapshot lay on disk; *pause_ms* is the longest time that an answer took
    meanwhile, *failed* how many answers were not what they should be.
    """

    apply_s: float
    in_force_s: float
    pause_ms: float
    failed: int


class _Watcher(threading.Thread):
    """Asks for *old*, which must always be there, and for *new*, until that is there too."""

    def __init__(self, subject: Subject, old: str, new: str) -> None:
        super().__init__()
        self._subject = subject
        self._old = subject.requests(old)
        self._new = subject.requests(new)
        self.in_force_at = 0.0
        self.pause_s = 0.0
        self.failed = 0
        self.must_end = threading.Event()

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._subject.port), timeout=30) as peer:
            while not self.must_end.is_set():
                self.failed += self._status(peer, next(self._old)) != b"200"
                status = self._status(peer, next(self._new))
                if status == b"200" and not self.in_force_at:
                    self.in_force_at = time.time()
                self.failed += status not in {b"200", b"404"}

    def _status(self, peer: socket.socket, request: bytes) -> bytes:
        begin = time.perf_counter()
        peer.sendall(request)
        answer = peer.recv(65_536)
        self.pause_s = max(self.pause_s, time.perf_counter() - begin)
        return answer[9:12]


def change(subject: Subject, *, old: str, new: str) -> Change:
    """Apply the catalog of *subject*, which now holds the path *new*, and return what that cost."""
    watcher = _Watcher(subject, old, new)
    watcher.start()
    try:
        apply_s = apply(subject.home, "1")
        end = time.monotonic() + _IN_FORCE_S
        while not watcher.in_force_at and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        watcher.must_end.set()
        watcher.join()
    if not watcher.in_force_at:
        raise BenchError("the new revision did not come into force")
    written_at = (subject.home / "store" / "snapshot.json").stat().st_ctime
    return Change(apply_s, watcher.in_force_at - written_at, watcher.pause_s * 1000, watcher.failed)
