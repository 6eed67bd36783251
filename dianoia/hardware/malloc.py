"""How the C library's allocator gives memory back."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
_BYTES = 128 * 1024


def return_freed_memory() -> None:
    """Let this process give the memory of large blocks back to the system as soon as they are freed.

    glibc otherwise keeps blocks of up to 32 MB for later ones of the same size, which hides what was saved by freeing them.
    Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _BYTES)
        mallopt(_TRIM_THRESHOLD, _BYTES)
