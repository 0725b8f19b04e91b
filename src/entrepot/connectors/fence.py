"""A fence: what must be asked before anything is sent of a write that may have become another's to deliver.

A write that was handed over to the ledger is the courier's, and a lease that ran out is another courier's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

IsVoid = Callable[[], bool]

_fence: ContextVar[IsVoid | None] = ContextVar("_fence", default=None)
_look_fence: ContextVar[IsVoid | None] = ContextVar("_look_fence", default=None)


def raise_fence(is_void: IsVoid, *, is_void_look: IsVoid | None = None) -> None:
    """Let *is_void* be asked about each request of the present task when it has its place; False: it is sent now.

    *is_void_look*, if given, is asked instead about those that change nothing.
    """
    _fence.set(is_void)
    _look_fence.set(is_void_look or is_void)


@contextmanager
def looking() -> Iterator[None]:
    """Let the requests that the present task makes within be those that change nothing."""
    before = _fence.set(_look_fence.get())
    try:
        yield
    finally:
        _fence.reset(before)


def note_look() -> None:
    """Ask the fence of the present task about a request that changes nothing, which another task has sent for it."""
    with looking():
        is_void = _fence.get()
    if is_void is not None:
        is_void()


def fenced(is_void: IsVoid | None) -> IsVoid | None:
    """Return what is asked about a request of the present task: *is_void*, if any, and last the fence, if there is one.

    So the fence answers False of nothing but what is sent.
    """
    fence = _fence.get()
    if fence is None or is_void is None:
        return is_void or fence
    return lambda: is_void() or fence()
