"""A lock in memory that several processes map, which survives the death of its holder.

A robust, process-shared, error-checking pthread mutex (``pthread_mutexattr_setrobust(3)``), reached by ctypes: about
0.2 µs for a pair of calls. The layout and the constants are those of glibc on 64-bit Linux; others are refused.

Whoever changes shared memory under it must do so in an order in which every prefix is a good state, because a
process may be killed between any two stores; the next one to take the lock just goes on.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from entrepot.chassis.errors import Error

# pthread_mutex_t is 40 bytes on x86-64 and 48 on aarch64; a cache line each keeps neighbours from disturbing.
MUTEX_BYTES = 64

_PROCESS_SHARED = 1
_ROBUST = 1
_ERRORCHECK = 2
# In struct __pthread_mutex_s, and its value for ENOTRECOVERABLE (PTHREAD_MUTEX_NOTRECOVERABLE, nptl/pthreadP.h).
_OWNER_OFFSET = 8
_OWNER_LOST = 2**31 - 2
_WAIT_S = 2
_MACHINES = ("x86_64", "aarch64")

# With PyDLL the GIL is kept: cheaper, and right for calls that never wait. A call that may wait must give it up,
# or a thread of this process that holds the mutex could never come to release it.
_quick = ctypes.PyDLL(None)
_patient = ctypes.CDLL(None)


class SharedStateError(Error):
    """The shared state of this host cannot be opened, or has no room left."""

    code, title = "shared-state", "The shared state of the host cannot be used"


class _Moment(ctypes.Structure):
    """``struct timespec``."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _function(library: ctypes.CDLL, name: str, *more: type) -> Callable[..., int]:
    function = getattr(library, name)
    function.argtypes = (ctypes.c_size_t, *more)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]  # ctypes types no function


def require_support() -> None:
    """Raise SharedStateError unless this is glibc on 64-bit Linux, x86-64 or aarch64."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES or sys.maxsize < 2**63 - 1:
        raise SharedStateError(f"locks over processes need 64-bit Linux on {' or '.join(_MACHINES)}, this is {machine}")
    if not hasattr(_quick, "gnu_get_libc_version"):
        raise SharedStateError("locks over processes need glibc; musl and other C libraries are not supported")


def initialise(address: int) -> None:
    """Make a fresh, free mutex at *address*, which must be mapped, aligned to 64 bytes and known to no one else."""
    attributes = ctypes.create_string_buffer(64)
    _check(_patient.pthread_mutexattr_init(attributes))
    _check(_patient.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED))
    _check(_patient.pthread_mutexattr_setrobust(attributes, _ROBUST))
    # Error-checking: a signal handler that breaks out between lock and unlock leaves a lock that the same thread may
    # take again, not one that it waits for until the end of time.
    _check(_patient.pthread_mutexattr_settype(attributes, _ERRORCHECK))
    _check(_patient.pthread_mutex_init(ctypes.c_void_p(address), attributes))


def _check(code: int) -> None:
    if code:
        raise SharedStateError(f"pthread says {errno.errorcode.get(code, str(code))}")


class Descriptor:
    """An open file, closed when no one refers to it any more; *number* is its file descriptor."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@contextmanager
def exclusive(file: Descriptor) -> Iterator[None]:
    """Keep all other processes out, those too that have inherited *file*, by ``flock`` on what *file* is open on."""
    # flock belongs to the open file description, which a fork shares; so each time a new one.
    with Path(f"/proc/self/fd/{file.number}").open("rb") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        yield


try_lock = _function(_quick, "pthread_mutex_trylock")
unlock = _function(_quick, "pthread_mutex_unlock")
_timed_lock = _function(_patient, "pthread_mutex_timedlock", ctypes.c_size_t)
_consistent = _function(_quick, "pthread_mutex_consistent")


class Mutex:
    """A mutex at an address. Hot paths write ``if try_lock(address): mutex.settle(…)`` themselves.

    Not for waiting: critical sections last about a microsecond.
    """

    __slots__ = ("_file", "address")

    def __init__(self, address: int, file: Descriptor) -> None:
        self.address = address
        self._file = file

    def __enter__(self) -> None:
        code = try_lock(self.address)
        if code:
            self.settle(code)

    def __exit__(self, *_: object) -> None:
        unlock(self.address)

    def settle(self, code: int) -> None:
        """Hold the mutex on return, after ``try_lock`` has answered *code*, which is not 0."""
        while code:
            if code == errno.EBUSY:
                code = self._wait()
            elif code in {errno.EOWNERDEAD, errno.EDEADLK}:
                # It is held now. A signal may have come between EOWNERDEAD and this call, and then it is EDEADLK: so
                # for both; where there is nothing to mend it answers EINVAL and does nothing.
                _consistent(self.address)
                return
            elif code == errno.ENOTRECOVERABLE:
                code = self._remake()
            else:
                _check(code)

    def _wait(self) -> int:
        """Wait for a bounded time, so that a wake-up that is lost (to ``_remake``) is no end."""
        until = _Moment(int(time.time()) + _WAIT_S, 0)
        code = _timed_lock(self.address, ctypes.addressof(until))
        if code == errno.ETIMEDOUT:
            return errno.ENOTRECOVERABLE if self._is_lost() else try_lock(self.address)
        return code

    def _is_lost(self) -> bool:
        owner = ctypes.c_int.from_address(self.address + _OWNER_OFFSET).value
        return owner == _OWNER_LOST

    def _remake(self) -> int:
        """Make a mutex anew that was given up: someone unlocked it after EOWNERDEAD, which this module never does."""
        # The file lock makes one process do it. The state is looked up in memory, because glibc's trylock leaves such
        # a mutex locked by whoever asks (nptl/pthread_mutex_trylock.c).
        with exclusive(self._file):
            if self._is_lost():
                initialise(self.address)
        return try_lock(self.address)
