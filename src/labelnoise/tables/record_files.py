"""Read records from untrusted files, folders and tar archives. Nothing is unpacked."""

import lzma
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from labelnoise.config import identity
from labelnoise.files.reading import read_bounded
from labelnoise.files.text import plain
from labelnoise.records import store


class Found(NamedTuple):
    """A file that is named like a record.

    Attributes: where, its path for messages; identifier, from its name; content; problem, if it could not be read.
    """

    where: str
    identifier: str
    content: bytes
    problem: str = ""


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
        for found in contents(Path(path)):
            try:
                valid.append(checked(found))
            except ValueError as error:
                left_out += 1
                print(f"{found.where} {error}; left out", file=sys.stderr)
        if len(valid) + left_out == before:
            raise ValueError(f"{path}: holds no records (files called <run_id>.json)")
    return valid, left_out


def contents(path: Path) -> Iterator[Found]:
    """Every file that is named like a record, in a folder or an archive; nothing is unpacked.

    Raises:
        ValueError: the path does not exist, or is neither.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if called_like_a_record(file.name) and file.is_file():
                yield _from_file(file)
    elif called_like_a_record(path.name) and path.is_file():
        yield _from_file(path)
    elif path.is_file():
        yield from _from_archive(path)
    elif path.exists():
        raise ValueError(f"{path}: neither a folder nor a regular file")
    else:
        raise ValueError(f"{path}: there is no such folder or archive")


def _from_file(path: Path) -> Found:
    try:
        return Found(plain(str(path)), path.stem, read_bounded(path, store.LARGEST))
    except (ValueError, OSError) as error:
        return Found(plain(str(path)), path.stem, b"", str(getattr(error, "strerror", None) or error))


def _from_archive(path: Path) -> Iterator[Found]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and called_like_a_record(name.name) and (inside := archive.extractfile(member)):
                    yield Found(plain(f"{path}: {member.name}"), name.stem, inside.read(store.LARGEST + 1))
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        message = f"{path}: neither a folder nor a complete tar archive of records ({str(error)[:60]})"
        raise ValueError(message) from None


def called_like_a_record(name: str) -> bool:
    """Whether a file is named <run_id>.json."""
    stem, _, end = name.partition(".")
    return end == "json" and len(stem) == 12 and not set(stem) - set("0123456789abcdef")


def checked(found: Found) -> store.Record:
    """The record in a file, with its current id.

    Raises:
        ValueError: the record is incomplete, or its id does not match its configuration.
    """
    if found.problem:
        raise ValueError(found.problem)
    record = store.parse(found.content, found.identifier)
    config = identity.upgraded(record["config"])
    return {**record, "run_id": identity.run_id(config), "config": config}
