"""The record of a run: its configuration, results and environment. One compact JSON, `<results>/<run_id>.json`.

Top-level keys: run_id, config, noise, metrics, history, environment. The first five repeat bit for bit on the same kind
of processor with the same versions, precision and number of threads; values that vary otherwise are in environment.
Records may be untrusted, so the schema in schema.py checks them when they are read.
"""

import json
import sys
from pathlib import Path
from typing import Any

from labelnoise.config import identity
from labelnoise.files.atomic import write_whole
from labelnoise.files.reading import read_bounded
from labelnoise.records.environment import REPOSITORY

Record = dict[str, Any]

KEYS = ("run_id", "config", "noise", "metrics", "history", "environment")
COMMITTED = REPOSITORY / "results" / "runs"
LARGEST = 2**24  # bytes of a record; one of CIFAR-100 has some 60,000

_reported: set[tuple[str, str, int]] = set()  # path, reason and modification time of files already reported


def find(identifier: str, results: str | Path, quiet: bool = False) -> Record | None:
    """The record with this id in `results`, else among the committed ones; None if there is none.

    A file that is not a whole record is left out, and reported once on standard error.

    Args:
        quiet: report nothing.
    """
    for folder in (Path(results), COMMITTED):
        path = folder / f"{identifier}.json"
        try:
            return load(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (ValueError, OSError) as error:
            if not quiet:
                report(path, str(error))
    return None


def committed(identifier: str) -> Record | None:
    """The committed record with this id; None if there is none. Raises: ValueError: it is not a whole record."""
    path = COMMITTED / f"{identifier}.json"
    return load(path) if path.is_file() else None


def report(path: Path, reason: str) -> None:
    """Report on standard error that a record is left out, once for each state of its file."""
    try:
        state = (str(path), reason, path.stat().st_mtime_ns)
    except OSError:
        state = (str(path), reason, 0)
    if state not in _reported:
        _reported.add(state)
        print(f"{reason}; left out", file=sys.stderr)


def load(path: Path) -> Record:
    """Read a record.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: it is not a whole record, or its id does not match its configuration.
    """
    try:
        return parse(read_bounded(path, LARGEST), path.stem)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def parse(content: bytes, identifier: str) -> Record:
    """The record with this id in a file's content.

    Raises:
        ValueError: it is not a whole record, or the id does not match; the text is meant to follow the file's name.
    """
    from labelnoise.records.schema import validated

    if len(content) > LARGEST:
        raise ValueError(f"is larger than {LARGEST:,} bytes")
    try:
        record = validated(content)
    except ValueError as error:
        raise ValueError(f"is not a whole record ({error})") from None
    if record["run_id"] != identifier:
        raise ValueError(f"is the record of run {record['run_id']}")
    if (other := identity.run_id(record["config"])) != identifier:
        raise ValueError(f"holds the configuration of run {other}")
    return record


def write(record: Record, results: str | Path) -> Path:
    """Write `<results>/<run_id>.json` atomically: to a temporary file, which is then renamed.

    Raises:
        OSError: the folder is not writable, or the disk is full; nothing is left behind.
    """
    lines = (f"{json.dumps(key)}: {json.dumps(record[key], separators=(',', ':'), allow_nan=False)}" for key in KEYS)
    return write_whole(Path(results) / f"{record['run_id']}.json", ("{" + ",\n".join(lines) + "}\n").encode())
