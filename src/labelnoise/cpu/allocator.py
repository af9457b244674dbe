"""The C allocator's setting: a third of a CPU step without it is the system clearing pages."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # glibc's M_ constants


def keep_pages() -> bool:
    """Tell glibc's allocator to keep large blocks instead of handing them back to the system after each use.

    Every activation is megabytes; by default each is mapped, faulted in page by page and cleared again in every step.
    Returns whether the allocator took the setting (glibc only).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    # An older glibc refuses so high a threshold; there nothing at all is mapped.
    return bool((mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_MAX, 0)) and kept)
