"""Read untrusted files: only regular files of a bounded size, without blocking."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path


def read_bounded(path: str | Path, limit: int = 2**30) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        OSError: it does not exist or cannot be read.
        ValueError: it is a folder, a pipe, a device or larger; the text is meant to follow the file's name.
    """
    with _opened(path) as file:
        large = os.fstat(file.fileno()).st_size > limit  # refused before it fills the memory
        content = b"" if large else file.read(limit + 1)  # it may have grown since
    if large or len(content) > limit:
        raise ValueError(f"is larger than {limit:,} bytes")
    return content


def sha256(path: str | Path) -> str:
    """The hash of a regular file of any size, in hex digits, read in chunks.

    Raises:
        OSError: it does not exist or cannot be read.
        ValueError: as `read_bounded`.
    """
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[BufferedReader]:
    # O_NONBLOCK: opening a pipe that nobody writes to would wait forever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_unless_regular(os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def check_regular(path: str | Path) -> None:
    """Refuse a path that is not a regular file, before a library opens it by name.

    Raises:
        OSError: it does not exist.
        ValueError: as `read_bounded`.
    """
    _refuse_unless_regular(Path(path).stat())


def _refuse_unless_regular(facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise ValueError("is a folder")
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("is not a regular file")
