"""Read records from untrusted files, folders and tar archives. Nothing is unpacked."""

import lzma
import re
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from labelnoise.config import identity
from labelnoise.files.reading import read_bounded
from labelnoise.files.text import plain
from labelnoise.records import store

NAME = re.compile(r"[0-9a-f]{12}\.json")  # of a record's file


def read(paths: Sequence[str]) -> tuple[list[store.Record], int]:
    """The valid records at these paths, with their current ids, and the number of files left out.

    Files that are left out are reported on standard error.

    Raises:
        ValueError: a path is empty, does not exist or holds no records.
    """
    valid: list[store.Record] = []
    left_out = 0
    for path in paths:
        if not path:
            raise ValueError("'': an empty path; write . for the working directory")
        before = len(valid) + left_out
        for where, load in contents(Path(path)):
            try:
                valid.append(load())
            except (ValueError, OSError) as error:
                left_out += 1
                print(f"{plain(where)} {getattr(error, 'strerror', None) or error}; left out", file=sys.stderr)
        if len(valid) + left_out == before:
            raise ValueError(f"{path}: holds no records (files called <run_id>.json)")
    return valid, left_out


def contents(path: Path) -> Iterator[tuple[str, Callable[[], store.Record]]]:
    """Every file that is named like a record, in a folder or an archive: its path for messages, and how to read it.

    Raises:
        ValueError: the path does not exist, or is neither.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if NAME.fullmatch(file.name) and file.is_file():
                yield str(file), partial(_load, file)
    elif NAME.fullmatch(path.name) and path.is_file():
        yield str(path), partial(_load, path)
    elif path.is_file():
        yield from _from_archive(path)
    elif path.exists():
        raise ValueError(f"{path}: neither a folder nor a regular file")
    else:
        raise ValueError(f"{path}: there is no such folder or archive")


def _from_archive(path: Path) -> Iterator[tuple[str, Callable[[], store.Record]]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and NAME.fullmatch(name.name) and (inside := archive.extractfile(member)):
                    content = inside.read(store.LARGEST + 1)
                    yield f"{path}: {member.name}", partial(_current, content, name.stem)
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        message = f"{path}: neither a folder nor a complete tar archive of records ({str(error)[:60]})"
        raise ValueError(message) from None


def _load(path: Path) -> store.Record:
    return _current(read_bounded(path, store.LARGEST), path.stem)


def _current(content: bytes, identifier: str) -> store.Record:
    """The record in a file, with its current id.

    Raises:
        ValueError: the record is incomplete, or its id does not match its configuration.
    """
    record = store.parse(content, identifier)
    config = identity.upgraded(record["config"])
    return {**record, "run_id": identity.run_id(config), "config": config}
