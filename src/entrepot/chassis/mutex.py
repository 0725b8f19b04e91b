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
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from entrepot.chassis.errors import Error

# pthread_mutex_t is 40 bytes on x86-64 and 48 on aarch64; a cache line each keeps neighbours from disturbing.
MUTEX_BYTES = 64

_PROCESS_SHARED = 1
_ROBUST = 1
_ERRORCHECK = 2
_MACHINES = ("x86_64", "aarch64")

# With PyDLL the GIL is kept: cheaper, and right for calls that never wait. A call that may wait must give it up,
# or a thread of this process that holds the mutex could never come to release it.
_quick = ctypes.PyDLL(None)
_patient = ctypes.CDLL(None)


class SharedStateError(Error):
    """The shared state of this host cannot be opened, or has no room left."""

    code, title = "shared-state", "The shared state of the host cannot be used"


def _function(library: ctypes.CDLL, name: str) -> Callable[[int], int]:
    function = getattr(library, name)
    function.argtypes = (ctypes.c_size_t,)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


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


@contextmanager
def exclusive(file: IO[bytes]) -> Iterator[None]:
    """Keep all other processes out, those too that have inherited *file*, by ``flock`` on what *file* is open on."""
    # flock belongs to the open file description, which a fork shares; so each time a new one.
    with Path(f"/proc/self/fd/{file.fileno()}").open("rb") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        yield


try_lock = _function(_quick, "pthread_mutex_trylock")
unlock = _function(_quick, "pthread_mutex_unlock")
_lock = _function(_patient, "pthread_mutex_lock")
_consistent = _function(_quick, "pthread_mutex_consistent")


class Mutex:
    """A mutex at an address. Hot paths write ``if try_lock(address): mutex.settle(…)`` themselves.

    Not for waiting: critical sections last about a microsecond.
    """

    __slots__ = ("_file", "address")

    def __init__(self, address: int, file: IO[bytes]) -> None:
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
                code = _lock(self.address)
            elif code == errno.EOWNERDEAD:
                code = _consistent(self.address)
                if code == 0:
                    return
            elif code == errno.EDEADLK:
                return
            elif code == errno.ENOTRECOVERABLE:
                code = self._remake()
            else:
                _check(code)

    def _remake(self) -> int:
        # The file lock makes one process do it; the others then find a mutex that is good.
        with exclusive(self._file):
            code = try_lock(self.address)
            if code != errno.ENOTRECOVERABLE:
                return code
            initialise(self.address)
            return try_lock(self.address)
