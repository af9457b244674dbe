"""Reading a file that may be anything: only a regular file of a bounded size is read, and nothing is waited for."""

import os
import stat
from pathlib import Path


def read_bounded(path: str | Path, limit: int = 2**30) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is a folder, a pipe, a device or larger; the text goes on from the file's name.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_unless_regular(os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:
        raise ValueError(f"is larger than {limit:,} bytes")
    return content


def check_regular(path: str | Path) -> None:
    """Refuse what is there but is no regular file: for libraries that open a file by its name.

    Raises:
        OSError: it is not there.
        ValueError: as `read_bounded`.
    """
    _refuse_unless_regular(Path(path).stat())


def _refuse_unless_regular(facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise ValueError("is a folder")
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("is not a regular file")
