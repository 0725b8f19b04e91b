"""A queue that processes and threads stand in: who comes first has the first turn, and nobody overtakes.

It makes fair what is not: of those who wait for a busy SQLite database in its own sleeps, one may wait for seconds
while others write a thousand times. It does not protect anything; what is written is protected by SQLite's own lock.
So a queue that does not move (someone in it was stopped, and is not dead) is left, not waited for.

The queue is a file. Everyone in it has a lock on a byte, its place, and on all bytes before that in its turn. These are
locks of an open file (``F_OFD_SETLK``, fcntl(2)), which the kernel takes back from whoever dies. The file's content
makes things quick and proves nothing: the place that was given last, and a number that changes when a turn ends, which
those who wait watch by ``futex(2)``.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from entrepot.chassis.mutex import require_support

# How long a turn that ended by its holder's death, which wakes no one, goes unnoticed.
_LOOK_S = 0.02
# How long one waits in a queue that did not move the last time.
_STUCK_S = 0.02
_PLACES = 2**62
_BYTES = mmap.PAGESIZE
_FLOCK = struct.Struct("hhqqi4x")
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_FUTEX = {"x86_64": 202, "aarch64": 98}
_EVERYONE = 2**31 - 1


class _Moment(ctypes.Structure):
    """``struct timespec``."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _system_call() -> Callable[..., int]:
    call = ctypes.CDLL(None).syscall
    call.argtypes = [ctypes.c_long, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p]
    call.restype = ctypes.c_long
    return call


_call = _system_call()


class Turns:
    """The queue of the file *path*, made when there is none, readable by its owner alone.

    Threads share it; a process that forks opens its own afterwards. Raises OSError when the file cannot be opened,
    SharedStateError on other machines than ``mutex`` supports.
    """

    def __init__(self, path: Path) -> None:
        require_support()
        self._path = path
        self._free: list[int] = []
        self._closing = weakref.finalize(self, _close_all, self._free)
        self._stuck = False
        self._futex = _FUTEX[platform.machine()]
        descriptor = self._open()
        self._free.append(descriptor)
        # On the disk before it is mapped: on a full one, a store into a page that has no block is a SIGBUS.
        os.posix_fallocate(descriptor, 0, _BYTES)
        self._memory = mmap.mmap(descriptor, _BYTES)
        self._last = ctypes.c_uint64.from_buffer(self._memory, 0)
        self._ended = ctypes.c_uint32.from_buffer(self._memory, 8)

    @contextmanager
    def turn(self, patience_s: float) -> Iterator[bool]:
        """Wait for a turn and hold it for the block; the block runs also when none came in *patience_s*, given False.

        Raises OSError when the queue's file cannot be used.
        """
        descriptor = self._free.pop() if self._free else self._open()
        try:
            mine = self._wait(descriptor, min(patience_s, _STUCK_S) if self._stuck else patience_s)
            self._stuck = not mine
            yield mine
        finally:
            self._leave(descriptor)

    def close(self) -> None:
        """Close the file; nobody may be in a turn of this object."""
        self._closing()

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _wait(self, descriptor: int, patience_s: float) -> bool:
        until = time.monotonic() + patience_s
        place = self._next()
        if _lock(descriptor, 0, place + 1):
            self._last.value = place
            return True
        while not _lock(descriptor, place, 1):
            place = (place + 1) % _PLACES
        self._last.value = place
        return self._advance(descriptor, place, until)

    def _next(self) -> int:
        return (self._last.value + 1) % _PLACES

    def _advance(self, descriptor: int, place: int, until: float) -> bool:
        while True:
            seen = self._ended.value
            if _lock(descriptor, 0, place + 1):
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            moment = _Moment(0, int(min(left, _LOOK_S) * 1e9))
            self._system(_FUTEX_WAIT, seen, ctypes.addressof(moment))

    def _leave(self, descriptor: int) -> None:
        _unlock(descriptor)
        self._free.append(descriptor)
        # Two who leave at once may count as one: whoever has seen neither yet sees another number all the same.
        self._ended.value = (self._ended.value + 1) % 2**32
        self._system(_FUTEX_WAKE, _EVERYONE, None)

    def _system(self, operation: int, value: int, moment: int | None) -> None:
        # What it answers is not asked: a number that has changed, a signal and a time-out all mean to look again.
        _call(self._futex, ctypes.addressof(self._ended), operation, value, moment)


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _lock(descriptor: int, first: int, length: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, length, 0))
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
