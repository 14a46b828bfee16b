"""How the process gets its memory: a training step asks for the same blocks over and over."""

from __future__ import annotations

import contextlib
import ctypes

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""Numbers of mallopt's parameters (malloc.h)."""


def keep_freed_memory() -> None:
    """Lets glibc reuse freed blocks of any size; it would return each to the system and have the next one zeroed.

    Without this a sixth of a step on a CPU is page faults. The peak stays; the process keeps it until it ends. Does nothing
    where malloc is not glibc's.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
