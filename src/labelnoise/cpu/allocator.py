"""A setting of the C allocator. Without it, the system spends a third of a CPU step on clearing pages."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # glibc's M_ constants


def keep_pages() -> bool:
    """Make glibc's allocator keep large blocks instead of returning them to the system after each use.

    An activation takes megabytes. By default, each one is mapped, page-faulted and cleared again in every step.
    Returns whether the allocator accepted the setting (glibc only).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    # Older versions of glibc refuse such a high threshold; there, mapping is switched off completely.
    return bool((mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_MAX, 0)) and kept)
