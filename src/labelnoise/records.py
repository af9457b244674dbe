"""The record of a run: what was run, what came out, and where. One compact JSON, `<results>/<run_id>.json`.

Top-level keys: run_id, config, noise, metrics, history, environment. The first five repeat bit for bit on the same kind
of processor with the same versions, precision and number of threads; whatever varies otherwise is in environment.
"""

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

Record = dict[str, Any]

KEYS = ("run_id", "config", "noise", "metrics", "history", "environment")

# What `run` reads and what decides the outcome: the effective configuration, and with it the run's id.
EFFECTIVE = (
    "dataset",
    "noise",
    "loss",
    "network",
    "optimizer",
    "schedule",
    "method",
    "epochs",
    "batch_size",
    "clip_norm",
    "precision",
    "compile",
    "deterministic",
    "eval_every",
    "num_val",
    "num_trusted",
    "seed_noise",
    "seed_init",
    "seed_data",
)
# What `run` reads besides: where and how, not what.
INCIDENTAL = ("device", "threads", "data_dir", "results", "force", "save_model", "tracker")

# A key at its neutral value is left out of the id, so that a key added later changes no id made before.
NEUTRAL: dict[str, Any] = {
    "eval_every": 1,
    "num_val": 0,
    "num_trusted": 0,
    "compile": False,
    "deterministic": False,
}

REPOSITORY = Path(__file__).resolve().parents[2]
COMMITTED = REPOSITORY / "results" / "runs"


def effective(cfg: DictConfig) -> dict[str, Any]:
    """The configuration that decides the outcome, resolved: no folders, and a file by its content's hash.

    Raises:
        omegaconf.errors.OmegaConfBaseException: a value is missing.
        ValueError: a file that a `path` names cannot be read.
    """
    whole: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    return {key: _by_content(whole[key], key) for key in EFFECTIVE}


def _by_content(value: Any, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}={value}: must be a finite number")
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        if key == "data_dir":
            continue
        if key == "path":
            try:
                inner = "sha256:" + hashlib.sha256(Path(inner).read_bytes()).hexdigest()[:16]
            except OSError as error:
                raise ValueError(f"{where}.path={inner}: cannot be read ({error.strerror})") from None
        kept[key] = _by_content(inner, f"{where}.{key}")
    return kept


def run_id(config: dict[str, Any]) -> str:
    """First 12 hex digits of the sha256 of the effective configuration's `identity`."""
    return hashed(identity(config))


def identity(config: dict[str, Any]) -> str:
    """What of an effective configuration names its run: sorted JSON, without neutral values.

    A number counts by its value: 1 and 1.0 are the same.
    """
    told = {key: _number(value) for key, value in config.items() if key not in NEUTRAL or value != NEUTRAL[key]}
    return json.dumps(told, sort_keys=True)


def hashed(text: str) -> str:
    """The id of the run that has this `identity`."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _number(value: Any) -> Any:
    """1.0 as 1, so that loss.alpha=1 and loss.alpha=1.0 are one configuration."""
    if isinstance(value, dict):
        return {key: _number(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_number(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


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


def write_whole(path: Path, content: bytes, sync: bool = True) -> Path:
    """Write a file so that it is there whole or not at all; after a power cut too, if `sync`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def check_writable(results: str | Path) -> None:
    """Refuse a results folder that cannot hold a record, before hours are spent on one.

    Raises:
        ValueError: names the folder and the reason.
    """
    try:
        Path(results).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results) as file:
            file.write(b" " * 65536)
    except OSError as error:
        raise ValueError(f"results={results}: cannot be written ({error.strerror})") from None


def environment() -> dict[str, Any]:
    """This machine and this copy of the code: commit, versions, processor. No host's or user's name, no folder."""
    names = ("labelnoise", "torch", "torchvision", "numpy", "hydra-core", "timm")
    return {
        **_commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
    }


def _commit() -> dict[str, Any]:
    """The commit of this checkout and whether it has changes; else LABELNOISE_COMMIT and null."""
    if (REPOSITORY / "src" / "labelnoise").is_dir():

        def git(*words: str) -> str:
            done = subprocess.run(
                ["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True, check=True, timeout=20
            )
            return done.stdout.strip()

        try:
            dirty = bool(git("status", "--porcelain", "--", ":!results", ":!*.md"))
            return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}
        except (OSError, subprocess.SubprocessError):
            pass
    return {"commit": os.environ.get("LABELNOISE_COMMIT"), "dirty": None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
