"""The record of a run: what was run, what came out, and where. One compact JSON, `<results>/<run_id>.json`.

Top-level keys: run_id, config, noise, metrics, history, environment. The first five repeat bit for bit on the same kind
of processor with the same versions, precision and number of threads; whatever varies otherwise is in environment.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from labelnoise.experiment.environment import REPOSITORY
from labelnoise.files.atomic import write_whole

Record = dict[str, Any]

KEYS = ("run_id", "config", "noise", "metrics", "history", "environment")
COMMITTED = REPOSITORY / "results" / "runs"


def find(identifier: str, results: str | Path) -> Record | None:
    """The record of that id in `results`, else among the committed ones; None where there is none.

    A file that is no whole record is reported on standard error and ignored.
    """
    for folder in (Path(results), COMMITTED):
        path = folder / f"{identifier}.json"
        if path.is_file():
            try:
                return load(path)
            except ValueError as error:
                print(f"{error}; ignored", file=sys.stderr)
    return None


def glance(identifier: str, results: str | Path) -> Record | None:
    """As `find`, but only the numbers of the metrics and the environment: for tables of thousands of records.

    It takes a record as `write` lays it out, a line a key, and sees one that was cut short; the other lines it does not
    read.
    """
    for folder in (Path(results), COMMITTED):
        try:
            lines = (folder / f"{identifier}.json").read_text().split("\n")
        except (OSError, UnicodeDecodeError):
            continue
        starts = [f'{{"run_id": "{identifier}",', *(f'"{key}": {{' for key in KEYS[1:]), ""]
        if len(lines) != len(starts) or not all(map(str.startswith, lines, starts)):
            continue
        metrics, environment = (lines[KEYS.index(key)].removeprefix(f'"{key}": ') for key in ("metrics", "environment"))
        told = re.findall(r'"(\w+)":([-+.\deE]+|null)[,}]', metrics.partition('"confusion"')[0])
        try:
            return {
                "run_id": identifier,
                "metrics": {name: json.loads(value) for name, value in told},
                "environment": json.loads(environment.removesuffix("}")),
            }
        except json.JSONDecodeError:
            continue
    return find(identifier, results)  # none, or one laid out otherwise, or a broken one, which is reported


def load(path: Path) -> Record:
    """Read a record.

    Raises:
        ValueError: the file is not a whole record.
    """
    try:
        return parse(path.read_bytes(), path.stem)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def parse(content: bytes, identifier: str) -> Record:
    """The record with this id that a file holds.

    Raises:
        ValueError: it is not a whole record; the text goes on from the file's name.
    """
    try:
        record = json.loads(content)
    except ValueError:  # no JSON, or not UTF-8
        record = None
    if not isinstance(record, dict) or tuple(record) != KEYS or record["run_id"] != identifier:
        raise ValueError("is not a whole record")
    if not all(isinstance(record[key], dict) for key in KEYS[1:]):
        raise ValueError("is not a whole record")
    return record


def write(record: Record, results: str | Path) -> Path:
    """Write `<results>/<run_id>.json` in one piece: beside it first, then renamed.

    Raises:
        OSError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    lines = (f"{json.dumps(key)}: {json.dumps(record[key], separators=(',', ':'), allow_nan=False)}" for key in KEYS)
    return write_whole(Path(results) / f"{record['run_id']}.json", ("{" + ",\n".join(lines) + "}\n").encode())
