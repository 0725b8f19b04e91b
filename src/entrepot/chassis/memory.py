"""What the C library keeps of memory that was freed."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Hand freed memory back to the system; a C library without malloc_trim(3), which is glibc's, keeps it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
