"""Bring records made elsewhere (a cluster, a GPU machine) into results/runs, or into the folder that results= names.

python scripts/merge.py PATH...
python scripts/merge.py runs from-the-cluster.tar.gz results=results/runs

A PATH is a record, a folder with records in it, or a tar archive of them. A record's id must be that of its
configuration. Where the same run is there already with other metrics, or comes twice with different ones, it is
reported and left as it is. A record of an earlier version gets the id that it has now. Exit code 0 if all went in or
was there already.
"""

import lzma
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from labelnoise.experiment import identity, records
from labelnoise.files.atomic import check_writable
from labelnoise.files.reading import read_bounded
from labelnoise.files.text import plain


class Found(NamedTuple):
    """A file that is called like a record.

    Attributes: where it is, for messages; identifier, from its name; content; problem, if it could not be read.
    """

    where: str
    identifier: str
    content: bytes
    problem: str = ""


def merge(arguments: list[str]) -> None:
    """Read all, then write what is new; exit with 1 where something was broken or in conflict.

    Args:
        arguments: paths, and `results=` for the folder that they go into.
    Raises:
        ValueError: a path is empty, is not there or holds no records, or `results` cannot be written; nothing is.
    """
    paths = [a for a in arguments if not a.startswith("results=")]
    named = [a.removeprefix("results=") for a in arguments if a.startswith("results=")]
    if not paths:
        raise ValueError("which records? python scripts/merge.py PATH..., folders or tar archives")
    if "" in (*paths, *named):
        raise ValueError("'': an empty path; write . for the working directory")
    results = Path(named[-1]) if named else records.COMMITTED
    incoming: dict[str, list[records.Record]] = {}
    broken = 0
    for path in map(Path, paths):
        count = 0
        for count, found in enumerate(contents(path), start=1):  # noqa: B007 (counts)
            try:
                record = checked(found)
            except ValueError as error:
                broken += 1
                print(f"{found.where} {error}; left out", file=sys.stderr)
            else:
                incoming.setdefault(record["run_id"], []).append(record)
        if not count:
            raise ValueError(f"{path}: holds no records (files called <run_id>.json)")
    if incoming:
        check_writable(results, *(f"{identifier}.json" for identifier in incoming))
    new = present = conflicts = 0
    for identifier, versions in sorted(incoming.items()):
        known = standing(results / f"{identifier}.json")
        if any(differ(other, known or versions[0]) for other in versions):
            conflicts += 1
            print(f"{identifier}: {_conflict(known, versions)}", file=sys.stderr)
        elif known:
            present += 1
        else:
            records.write(versions[0], results)
            new += 1
    print(f"{new} new, {present} there already, {conflicts} in conflict, {broken} broken: {_from_here(results)}")
    if conflicts or broken:
        sys.exit(1)


def contents(path: Path) -> Iterator[Found]:
    """Every file that is called like a record, in a folder or an archive; nothing is unpacked.

    Raises:
        ValueError: there is no such path, or it is neither.
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
        return Found(plain(str(path)), path.stem, read_bounded(path, records.LARGEST))
    except (ValueError, OSError) as error:
        return Found(plain(str(path)), path.stem, b"", str(getattr(error, "strerror", None) or error))


def _from_archive(path: Path) -> Iterator[Found]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and called_like_a_record(name.name) and (inside := archive.extractfile(member)):
                    yield Found(plain(f"{path}: {member.name}"), name.stem, inside.read(records.LARGEST + 1))
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}: no folder, and not a whole tar archive of records ({str(error)[:60]})") from None


def called_like_a_record(name: str) -> bool:
    """Whether a file's name is a run's id and .json."""
    stem, _, end = name.partition(".")
    return end == "json" and len(stem) == 12 and not set(stem) - set("0123456789abcdef")


def checked(found: Found) -> records.Record:
    """The record in a file, with the id that it has now.

    Raises:
        ValueError: it is not whole, or not the record of the configuration that it holds.
    """
    if found.problem:
        raise ValueError(found.problem)
    record = records.parse(found.content, found.identifier)
    config = identity.upgraded(record["config"])
    return {**record, "run_id": identity.run_id(config), "config": config}


def standing(path: Path) -> records.Record | None:
    """The record that is there; a broken one is reported, and makes room."""
    try:
        return records.load(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        print(f"{error}; replaced", file=sys.stderr)
        return None


def differ(one: records.Record, other: records.Record) -> bool:
    """Whether two records of a run say different things about what both tell: a later version tells more."""
    return any(
        one[part][key] != other[part][key] for part in ("noise", "metrics") for key in one[part].keys() & other[part]
    )


def _conflict(known: records.Record | None, versions: list[records.Record]) -> str:
    told = ", ".join(map(_in_short, [*([known] if known else []), *versions]))
    return f"{told}; different metrics, {'the first is kept' if known else 'none is taken'}"


def _in_short(record: records.Record) -> str:
    """A record's accuracy and where it was made, for a message."""
    facts = record["environment"]
    machine = facts.get("processor") if facts.get("device", "cpu") == "cpu" else facts["device"]
    made = plain(f"{(facts.get('commit') or 'unknown commit')[:7]}, {machine or 'unknown processor'}")
    return f"{record['metrics']['test_acc_last']} ({made})"


def _from_here(folder: Path) -> str:
    """A folder, relative to the working directory if it is below."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
