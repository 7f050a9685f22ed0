"""Heaps of the C library: a few for the process instead of eight a core."""

from __future__ import annotations

import ctypes
import os
from typing import Final

ARENAS: Final = 4
"""Heaps that threads share. Of a thread's own heap nothing is given back while anything lives at its end, and a dozen
threads here take turns with counts of megabytes: each heap would grow to what any of them ever held at once."""
_M_ARENA_MAX: Final = -8  # <malloc.h> of glibc


def limit() -> bool:
    """Share `ARENAS` heaps from now on, unless MALLOC_ARENA_MAX says otherwise. False where that cannot be done."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, ARENAS) == 1
