"""Tables of papers: rows x columns x seeds, each cell with the command that runs it and the id of its record.

A table is one file, `configs/table/<name>.yaml`: `python train.py -m table=<name>` runs what is missing of it and
`python scripts/table.py table=<name>` prints it. A cell is `common + row + column + seed + whatever the user adds`.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from labelnoise import records
from labelnoise.config import CONFIGS, compose, explain, options

Overrides = tuple[str, ...]

# Stand for a cell's seed and its noise's seed in the template of a row and column. Below 2^32, and no seed of anyone's.
SEED, SEED_NOISE = 4_111_222_333, 4_111_222_334
KEPT = 8  # caches of other versions of configs/ that are left in the folder


class Table(NamedTuple):
    """A table as chosen: its rows, columns and seeds are those that the user wants."""

    name: str
    title: str
    metric: str  # a key of a record's metrics
    common: Overrides
    rows: dict[str, Overrides | dict[str, Overrides]]  # loss=<label> and these; by column where a paper tuned by rate
    columns: dict[str, Overrides]
    seeds: tuple[int, ...]
    seed_noise: int | None  # seed 1 draws its noise with this one, seed 2 with the next; None: with the seed itself
    published: dict[str, Any]  # source, table and dataset in published.csv, and a label; empty: nothing is published
    notes: tuple[str, ...]


class Cell(NamedTuple):
    """One training of a table; `python train.py <overrides>` runs it alone."""

    row: str
    column: str
    seed: int
    overrides: Overrides
    run_id: str


def split_arguments(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Those that choose the table and its part (`table=`, `table.rows=` ...), and the rest, meant for every cell."""
    chosen = [o for o in overrides if o.startswith(("table=", "table."))]
    return chosen, [o for o in overrides if o not in chosen]


# ----------------------------------------------------------------------------------------------------------- reading


def read(choice: list[str]) -> Table:
    """The table that the first half of `split_arguments` chooses.

    Raises:
        ValueError: no such table, row, column or seed; one line says what there is.
    """
    names = [option for option in options("table") if option != "none"]
    name = next((o.removeprefix("table=") for o in reversed(choice) if o.startswith("table=")), "none")
    if name == "none":
        raise ValueError(f"table=...: choose one of {', '.join(names)}")
    content: Any = OmegaConf.to_container(compose(choice).table, resolve=True)
    try:
        rows = {label: _row(label, given) for label, given in content["grid"]["rows"].items()}
        columns = {label: tuple(given) for label, given in content["grid"]["columns"].items()}
        chosen = {
            "rows": {label: rows[label] for label in _selected(name, "rows", content["rows"], list(rows))},
            "columns": {
                label: columns[label] for label in _selected(name, "columns", content["columns"], list(columns))
            },
        }
        return Table(
            name=name,
            title=content["title"],
            metric=content["metric"],
            common=tuple(content["common"]),
            seeds=_seeds(content["seeds"]),
            seed_noise=content.get("seed_noise"),
            published=content.get("published") or {},
            notes=tuple(content.get("notes") or ()),
            **chosen,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"table={name}: configs/table/{name}.yaml is not a table ({error})") from None


def _row(label: str, given: Any) -> Overrides | dict[str, Overrides]:
    """The overrides of a row, loss=<label> first unless it names its loss itself."""

    def whole(overrides: list[str]) -> Overrides:
        named = any(o.startswith("loss=") for o in overrides)
        return tuple(overrides) if named else (f"loss={label}", *overrides)

    if isinstance(given, dict):
        return {column: whole(overrides) for column, overrides in given.items()}
    return whole(given)


def _selected(name: str, what: str, asked: Any, known: list[str]) -> list[str]:
    """The labels asked for, in the table's order."""
    if asked == "all":
        return known
    labels = [str(label) for label in (asked if isinstance(asked, list) else [asked])]
    for label in labels:
        if label not in known:
            raise ValueError(f"table.{what}={label}: table={name} has no such {what[:-1]}; one of {', '.join(known)}")
    if not labels:
        raise ValueError(f"table.{what}=[]: choose at least one of {', '.join(known)}")
    return [label for label in known if label in labels]


def _seeds(asked: Any) -> tuple[int, ...]:
    seeds = asked if isinstance(asked, list) else [asked]
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < SEED for s in seeds):
        raise ValueError(f"table.seeds={asked}: must be a list of whole numbers, at least 0, such as [1,2,3]")
    return tuple(dict.fromkeys(seeds))


# ------------------------------------------------------------------------------------------------------------- cells


def cells(table: Table, extra: Sequence[str] = ()) -> list[Cell]:
    """Every cell of the table with the id of its record: all of the first seed, then all of the next.

    Composes once for a row and column, and not at all where a cache of the user's has the outcome.

    Args:
        extra: further overrides of the user's, applied to every cell after all others.
    Raises:
        ValueError: an override is wrong; names the first cell where it is.
    """
    for override in extra:
        if override.startswith("seed="):
            raise ValueError(f"{override}: a table has seeds of its own; choose them with table.seeds=[...]")
    cache = _Cache()
    ids = {
        (row, column, seed): identifier
        for row in table.rows
        for column in table.columns
        for seed, identifier in zip(table.seeds, _ids(table, row, column, tuple(extra), cache), strict=True)
    }
    cache.write()
    return [
        Cell(row, column, seed, overrides_of(table, row, column, seed, extra), ids[row, column, seed])
        for seed in table.seeds
        for row in table.rows
        for column in table.columns
    ]


def overrides_of(table: Table, row: str, column: str, seed: int, extra: Sequence[str] = ()) -> Overrides:
    """What `train.py` takes to run this cell alone."""
    given = table.rows[row]
    own = given.get(column, (f"loss={row}",)) if isinstance(given, dict) else given
    before = (*table.common, *own, *table.columns[column])
    seeds = [f"seed={seed}"]
    if table.seed_noise is not None and not any(o.startswith("seed_noise=") for o in before):
        seeds.append(f"seed_noise={SEED_NOISE if seed == SEED else table.seed_noise + seed - 1}")
    return (*before, *seeds, *extra)


def _ids(table: Table, row: str, column: str, extra: Overrides, cache: "_Cache") -> list[str]:
    """The id of every seed's record."""
    template = overrides_of(table, row, column, SEED, extra)
    text = cache.get(template)
    try:
        if text is None:
            text = _identity(template)
            if _only_seeds(text):
                cache.put(template, text)
            else:  # something else is made of the seed: compose every one
                return [
                    records.hashed(_identity(overrides_of(table, row, column, seed, extra))) for seed in table.seeds
                ]
    except ValueError as error:
        raise ValueError(f"{error} (in row {row}, column {column} of table={table.name})") from None
    first = table.seed_noise or 0
    return [
        records.hashed(text.replace(str(SEED_NOISE), str(first + seed - 1)).replace(str(SEED), str(seed)))
        for seed in table.seeds
    ]


def _identity(overrides: Overrides) -> str:
    cfg = compose(list(overrides))
    try:
        return records.identity(records.effective(cfg))
    except OmegaConfBaseException as error:
        raise ValueError(explain(error, list(overrides), cfg)) from None


def _only_seeds(text: str) -> bool:
    """Whether the stand-ins are the values of the three seeds and occur nowhere else."""
    config = json.loads(text)
    direct = sum(config[key] in (SEED, SEED_NOISE) for key in ("seed_noise", "seed_init", "seed_data"))
    return text.count(str(SEED)) + text.count(str(SEED_NOISE)) == direct


class _Cache:
    """What overrides come to, for this state of configs/ and of records.py: a file in the user's cache folder.

    Without a folder that can be written to, every call composes. What depends on more than the overrides (a file's
    content, an environment variable, a folder of further configs) is never kept.
    """

    def __init__(self) -> None:
        state = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
        for path in [Path(records.__file__), *sorted(CONFIGS.rglob("*.yaml"))]:
            state.update(path.name.encode() + b"\0" + path.parent.name.encode() + b"\0" + path.read_bytes() + b"\0")
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        self._path = None
        self._known: dict[str, str] = {}
        self._new: dict[str, str] = {}
        try:
            self._path = base.expanduser() / "labelnoise" / "tables" / f"{state.hexdigest()[:16]}.json"
            self._known = self._read()
        except RuntimeError:  # no home
            pass

    def _read(self) -> dict[str, str]:
        try:
            content = json.loads(self._path.read_text()) if self._path else {}
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def get(self, overrides: Overrides) -> str | None:
        found = self._known.get("\n".join(overrides))
        return found if isinstance(found, str) else None

    def put(self, overrides: Overrides, text: str) -> None:
        elsewhere = "sha256:" in text or any("${" in o or o.lstrip("+~").startswith("hydra") for o in overrides)
        if not elsewhere:
            self._new["\n".join(overrides)] = text

    def write(self) -> None:
        if not self._new or self._path is None:
            return
        try:
            records.write_whole(self._path, json.dumps({**self._read(), **self._new}).encode())
            for old in sorted(self._path.parent.glob("*.json"), key=lambda p: -p.stat().st_mtime)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            pass
