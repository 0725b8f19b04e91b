"""Answers kept for a while: in the memory of each worker, and on disk for the others and for the next start.

An entry counts as long as the *generation* of its endpoint is the one that was in force when the upstream was asked. A
write through the gateway raises it, and with that ends every entry of the endpoint in every worker at once. Generations
live in the shared state; when they may have gone back (another epoch), no entry from before counts.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from entrepot.catalog.kept import counter_of
from entrepot.chassis.shared import Counter, SharedState
from entrepot.gateway.cachefiles import DamagedError, Entry, EntryFiles, Label, decode, encode

__all__ = ["AnswerCache", "Entry"]

log = logging.getLogger(__name__)

_QUEUED = 256
_QUEUED_BYTES = 16 * 1_048_576
_LOG_EVERY_S = 60.0
# A stale answer is looked for on disk so often, where another worker may have put a fresh one.
_LOOK_EVERY_S = 1.0
# One answer takes at most this part of memory or disk.
_LARGEST_PART = 4


class _Held:
    """An entry in memory."""

    __slots__ = ("ends", "entry", "generation", "look_at")

    def __init__(self, entry: Entry, generation: int, ends: Counter) -> None:
        self.entry = entry
        self.generation = generation
        self.ends = ends
        self.look_at = 0.0


class AnswerCache:
    """Cached answers of this host, seen from one worker. Made after the fork; for one thread.

    *damaged* counts files that were no entries, *memory_used_bytes* is about what the entries in memory take.
    """

    def __init__(self, directory: Path, shared: SharedState, *, memory_bytes: int, disk_bytes: int) -> None:
        self.damaged = 0
        self.memory_used_bytes = 0
        self._memory_bytes = memory_bytes
        self._shared = shared
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        self._ends: dict[str, Counter] = {}
        self._files = EntryFiles(directory, shared, disk_bytes)
        self._writer = _Writer(self._files, self._counts)

    @property
    def failures(self) -> int:
        """Reads and writes that the disk refused."""
        return self._writer.failures

    @property
    def skipped(self) -> int:
        """Entries that stayed in memory only, because the disk was too slow."""
        return self._writer.skipped

    def generation(self, endpoint: str) -> int:
        """Return the generation of *endpoint*; read it before the upstream is asked, and hand it to ``put``."""
        return self._counter(endpoint).read()

    def end(self, endpoint: str) -> None:
        """End all entries of *endpoint* in all workers, and those that are being asked for now."""
        self._counter(endpoint).bump()

    def _counter(self, endpoint: str) -> Counter:
        counter = self._ends.get(endpoint)
        if counter is None:
            counter = self._ends[endpoint] = self._shared.counter(counter_of(endpoint))
        return counter

    def get(self, key: bytes, endpoint: str, now_wall: float) -> Entry | None:
        """Return the entry of *key*, fresh or stale at *now_wall* (Unix time), or None.

        The caller decides by its moments. From memory without waiting; what is not fresh there, or not there, is
        looked for in a file.
        """
        held = self._held.get(key)
        if held is not None and now_wall < held.entry.fresh_until and held.ends.read() == held.generation:
            self._held.move_to_end(key)
            return held.entry
        return self._look(key, endpoint, now_wall)

    def put(self, key: bytes, endpoint: str, generation: int, entry: Entry) -> bool:
        """Keep *entry*, asked for at *generation*; False when the endpoint's entries have been ended since."""
        if self._counter(endpoint).read() != generation:
            return False
        self._keep(key, endpoint, generation, entry)
        if entry.size_bytes <= self._files.limit_bytes // _LARGEST_PART:
            self._writer.offer(Label(key, endpoint, self._shared.epoch, generation), entry)
        return True

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is still to be written, for at most *timeout_s*."""
        self._writer.stop(timeout_s)

    def _counts(self, label: Label) -> bool:
        # Also called by the writer's thread: the counter is known by then, so nothing is changed here.
        return label.generation == self._ends[label.endpoint].read()

    def _look(self, key: bytes, endpoint: str, now_wall: float) -> Entry | None:
        generation = self._counter(endpoint).read()
        held = self._held.get(key)
        if held is not None and (held.generation != generation or now_wall >= held.entry.stale_until):
            self._drop(key)
            held = None
        if held is not None and now_wall < held.look_at:
            return held.entry
        found = self._load(key, endpoint, generation)
        is_newer = found is not None and (held is None or found.stored_at > held.entry.stored_at)
        if found is not None and is_newer and now_wall < found.stale_until:
            held = self._keep(key, endpoint, generation, found)
        if held is None:
            return None
        held.look_at = now_wall + _LOOK_EVERY_S
        return held.entry

    def _load(self, key: bytes, endpoint: str, generation: int) -> Entry | None:
        if not self._files.limit_bytes:
            return None
        try:
            raw = self._files.read(key)
            if raw is None:
                return None
            label, entry = decode(raw)
        except DamagedError:
            self.damaged += 1
            self._files.drop(key)
            return None
        except OSError as exc:
            self._writer.report(exc)
            return None
        return entry if label == Label(key, endpoint, self._shared.epoch, generation) else None

    def _keep(self, key: bytes, endpoint: str, generation: int, entry: Entry) -> _Held:
        self._drop(key)
        held = _Held(entry, generation, self._counter(endpoint))
        if entry.size_bytes <= self._memory_bytes // _LARGEST_PART:
            self._held[key] = held
            self.memory_used_bytes += entry.size_bytes + len(key)
            while self.memory_used_bytes > self._memory_bytes:
                self._drop(next(iter(self._held)))
        return held

    def _drop(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self.memory_used_bytes -= held.entry.size_bytes + len(key)


class _Writer:
    """A thread that writes entries to disk. What it cannot take at once is not written."""

    def __init__(self, files: EntryFiles, counts: Callable[[Label], bool]) -> None:
        self.failures = 0
        self.skipped = 0
        self._files = files
        self._counts = counts
        self._queue: queue.Queue[tuple[Label, Entry] | None] = queue.Queue(_QUEUED)
        self._offered_bytes = 0  # changed by the offering thread only
        self._done_bytes = 0  # changed by the writing thread only
        self._thread: threading.Thread | None = None
        self._quiet_until = 0.0

    def offer(self, label: Label, entry: Entry) -> None:
        """Have *entry* written soon."""
        if self._offered_bytes - self._done_bytes > _QUEUED_BYTES:
            self.skipped += 1
            return
        try:
            self._queue.put_nowait((label, entry))
        except queue.Full:
            self.skipped += 1
            return
        self._offered_bytes += entry.size_bytes
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="cache-writer", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what was offered, for at most *timeout_s*, and end."""
        if self._thread is None:
            return
        deadline = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def report(self, error: OSError) -> None:
        """Count a refusal of the disk, and log it once a minute."""
        self.failures += 1
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _LOG_EVERY_S
            facts = {"directory": str(self._files.directory), "reason": str(error), "failures": self.failures}
            log.warning("cached answers are kept in memory only", extra=facts)

    def _run(self) -> None:
        while (offered := self._queue.get()) is not None:
            label, entry = offered
            try:
                if self._counts(label):
                    self._files.write(label.key, encode(label, entry))
            except OSError as exc:
                self.report(exc)
            self._done_bytes += entry.size_bytes
