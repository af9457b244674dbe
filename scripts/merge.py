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

from labelnoise.cli.errors import check_flags, script
from labelnoise.experiment import identity, records

LARGEST = 2**24  # bytes of a record; one of CIFAR-100 has some 60,000


def merge(arguments: list[str]) -> None:
    """Read all, then write what is new; exit with 1 where something was broken or in conflict."""
    check_flags(arguments)
    paths = [Path(a) for a in arguments if not a.startswith("results=")]
    named = [a.removeprefix("results=") for a in arguments if a.startswith("results=")]
    results = Path(named[-1]) if named else records.COMMITTED
    if not paths:
        raise ValueError("which records? python scripts/merge.py PATH..., folders or tar archives")
    come: dict[str, list[records.Record]] = {}
    broken = 0
    for path in paths:
        for name, content in contents(path):
            try:
                record = whole(content, PurePosixPath(name).stem)
                come.setdefault(record["run_id"], []).append(record)
            except ValueError as error:
                broken += 1
                say(f"{name} {error}; left out")
    new = there = conflicts = 0
    for identifier, versions in sorted(come.items()):
        known = standing(results / f"{identifier}.json")
        if any(differ(other, (known or versions[0])) for other in versions):
            conflicts += 1
            say(f"{identifier}: {', '.join(map(told, [*([known] if known else []), *versions]))}; {kept(known)}")
        elif known:
            there += 1
        else:
            records.write(versions[0], results)
            new += 1
    print(f"{new} new, {there} there already, {conflicts} in conflict, {broken} broken: {shown(results)}")
    if conflicts or broken:
        sys.exit(1)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file that is called like a record, in a folder or an archive; nothing is unpacked.

    Raises:
        ValueError: there is no such path, or it is neither.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            if called_like_a_record(file.name) and file.is_file():
                yield str(file), file.read_bytes()
    elif path.is_file() and called_like_a_record(path.name):
        yield str(path), path.read_bytes()
    elif path.is_file():
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if member.isfile() and called_like_a_record(name) and (inside := archive.extractfile(member)):
                        yield f"{path}: {member.name}", inside.read(LARGEST + 1)
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"{path}: no folder, and not a whole tar archive of records ({str(error)[:60]})") from None
    else:
        raise ValueError(f"{path}: there is no such folder or archive")


def called_like_a_record(name: str) -> bool:
    """Whether a file's name is a run's id and .json."""
    stem, _, end = name.partition(".")
    return end == "json" and len(stem) == 12 and not set(stem) - set("0123456789abcdef")


def whole(content: bytes, identifier: str) -> records.Record:
    """The record in a file.

    Raises:
        ValueError: it is not whole, or not the record of the configuration that it holds.
    """
    if len(content) > LARGEST:
        raise ValueError("is too large for a record")
    record = records.parse(content, identifier)
    if identity.run_id(record["config"]) != identifier:
        raise ValueError(f"holds the configuration of run {identity.run_id(record['config'])}")
    config = identity.upgraded(record["config"])  # a record of an earlier version gets the id that it has now
    return {**record, "run_id": identity.run_id(config), "config": config}


def standing(path: Path) -> records.Record | None:
    """The record that is there; a broken one is reported, and makes room."""
    try:
        return whole(path.read_bytes(), path.stem) if path.exists() else None
    except ValueError as error:
        say(f"{path} {error}; replaced")
        return None


def differ(one: records.Record, other: records.Record) -> bool:
    """Whether two records of a run say different things about it."""
    return any(one[key] != other[key] for key in ("noise", "metrics"))


def told(record: records.Record) -> str:
    """A record's accuracy and where it was made, for a message."""
    facts = record["environment"]
    machine = facts.get("processor") if facts.get("device", "cpu") == "cpu" else facts["device"]
    return f"{record['metrics'].get('test_acc_last')} ({(facts.get('commit') or 'unknown commit')[:7]}, {machine})"


def kept(known: records.Record | None) -> str:
    """What becomes of a run in conflict."""
    return "different metrics, the first is kept" if known else "different metrics, none is taken"


def shown(folder: Path) -> str:
    """A folder, from here if it is below."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def say(line: str) -> None:
    """Tell on standard error."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    script(merge, __doc__)
