"""Let the C library keep the large blocks that every step, or batch, allocates anew.

glibc hands blocks above 128 kB..32 MB back to the system when they are freed, and the system clears every page of them
at the next use: a fifth of a CPU step's time, measured. Kept blocks cost the peak memory, which a step reaches anyway.
"""

from __future__ import annotations

import ctypes
import platform

# Names and numbers of glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_BLOCK = 2**30


def keep_large_blocks() -> bool:
    """Set the allocator to keep large blocks, and tell whether that worked: only glibc can."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, 2 * _BLOCK - 1))
