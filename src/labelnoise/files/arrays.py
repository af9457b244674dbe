"""Read an array of numbers from an untrusted file. Nothing is unpickled."""

import numpy as np

from labelnoise.files.reading import check_regular


def read_npy(path: str) -> np.ndarray:
    """The array in a .npy file, mapped into memory: a file may be larger than that. It cannot be written to.

    Raises:
        OSError: it does not exist.
        ValueError: it is not such a file, contains objects, or is no regular file.
    """
    check_regular(path)
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception:  # a broken header may raise anything; numpy's own message advises unsafe loading
        raise ValueError("it is not an array of numbers") from None
