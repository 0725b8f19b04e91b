"""A write that became a transaction while it was under way sends nothing more: the courier does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar

from entrepot.connectors.base import HttpReply
from entrepot.connectors.link import Link

IsVoid = Callable[[], bool]
_fence: ContextVar[IsVoid | None] = ContextVar("_fence", default=None)


def raise_fence(is_void: IsVoid) -> None:
    """Let *is_void* be asked before anything is sent by the present task."""
    _fence.set(is_void)


def fence() -> IsVoid | None:
    """Return what must be asked before the present task sends anything."""
    return _fence.get()


class FencedPost:
    """The ``Post`` of a link for the records of callers, some of which are fenced."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    async def __call__(
        self,
        path: str,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        deadline: float,
        is_void: IsVoid | None = None,
    ) -> HttpReply:
        """Return the upstream's answer, whatever its status. Raises Withdrawn when the write is void by then."""
        fenced = _fence.get()
        if fenced is not None:
            is_void = fenced if is_void is None else _either(is_void, fenced)
        return await self._link.post(path, body, headers, deadline=deadline, is_void=is_void)


def _either(first: IsVoid, second: IsVoid) -> IsVoid:
    return lambda: first() or second()
