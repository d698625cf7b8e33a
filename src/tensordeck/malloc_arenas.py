"""One heap for all threads, where the C library would make one for every few of them.

glibc's malloc gives threads arenas of their own, eight a processor at most, so that they do not
wait for one another. What one arena has free is of no use to the next, and what grows is the sum of
their peaks. See docs/adr/0021-one-malloc-arena.md.
"""

import ctypes
import os
from typing import Final

__all__ = ["share_one_arena"]

_M_ARENA_MAX: Final = -8
"""`mallopt`'s name for the most arenas there may be (glibc's malloc.h)."""


def share_one_arena() -> bool:
    """Has all threads share one arena; call it before there are any.

    Who has set `MALLOC_ARENA_MAX`, or the same by `GLIBC_TUNABLES`, gets what was asked for. Other
    C libraries have no arenas.

    Returns:
        Whether it was done.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    if "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_M_ARENA_MAX, 1))
