"""What the report shows: every table with its results, and every record of a results folder.

Only this file of the report reads tables and records; the others get plain values.
"""

import json
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from labelnoise.config import merged
from labelnoise.config.groups import CONFIGS, choices, typed
from labelnoise.records import store
from labelnoise.records.store import Record
from labelnoise.report.commands import SEEDS, command_of
from labelnoise.tables import comparison, table
from labelnoise.tables.published import unread
from labelnoise.tables.sheet import Sheet, beneath
from labelnoise.tables.table import Overrides, Table


class Collection(NamedTuple):
    """Attributes: sheets; records, by run id; commands, the overrides with which `train.py` repeats a run, by run id.

    A run that this version cannot repeat has no command.
    """

    sheets: list[Sheet]
    records: dict[str, Record]
    commands: dict[str, Overrides]


def collect(results: str | Path, only: bool = False, name: str = "", own: Sequence[str] = ()) -> Collection:
    """Every table, and every record in `results` or among the committed ones.

    A file that is not a record is reported on standard error and left out.

    Args:
        only: without the committed records.
        name: of the only table to show.
        own: the override that adds folders of options, and their tables.
    """
    found = read_records(results, only)
    datasets = {record["config"]["dataset"]["name"] for record in found.values()}
    sheets: list[Sheet] = []
    commands: dict[str, Overrides] = {}
    known = [name] if name else [n for n in choices("table", own) if n != "none"]
    for name in sorted(known, key=lambda name: (name != "digits", name)):
        chosen = table.read([f"table={name}", *own])
        if chosen.path.parent != CONFIGS / "table":
            for line in unread(chosen, own):
                print(line, file=sys.stderr)
        part = with_records(chosen, datasets)
        cells = table.cells(part, own) if part.rows and part.columns else []
        commands |= {cell.run_id: tuple(typed(cell.overrides)) for cell in cells if cell.run_id in found}
        compared = comparison.results(chosen, cells, found)
        of_table = [found[identifier] for identifier in dict.fromkeys(i for one in compared for i in one.run_ids)]
        sheets.append(Sheet(chosen, compared, beneath(chosen, compared, of_table, [])))
    found = {record["run_id"]: record for record in sorted(found.values(), key=_without_seeds)}
    for identifier, record in found.items():
        if identifier not in commands and (overrides := command_of(record)):
            commands[identifier] = overrides
    return Collection(sheets, found, commands)


def _without_seeds(record: Record) -> str:
    return json.dumps({key: value for key, value in record["config"].items() if key not in SEEDS}, sort_keys=True)


def default_folder() -> str:
    """The default results folder: that of train.py."""
    return str(*merged.values([], "results"))


def read_records(results: str | Path, only: bool = False) -> dict[str, Record]:
    """The valid records of a folder, and the committed ones that it does not hold, by run id.

    Args:
        only: without the committed ones.
    Raises:
        ValueError: the folder does not exist.
    """
    folder = Path(results)
    if not folder.is_dir() and folder != Path(default_folder()):
        raise ValueError(f"results={results}: no such folder")
    found: dict[str, Record] = {}
    committed = [] if only else sorted(store.COMMITTED.glob("*.json"))
    for path in (*sorted(folder.glob("*.json")), *committed):
        if path.stem in found:
            continue
        try:
            record = store.load(path)
            if problem := fault(record):
                raise ValueError(f"{path} {problem}")
            found[path.stem] = record
        except (ValueError, OSError) as error:
            store.report(path, str(error))
    return found


def fault(record: Record) -> str | None:
    """Why a valid record cannot be shown; None if it can."""
    dataset = record["config"].get("dataset")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("name"), str):
        return "names no data set"
    for part, name in (("noise", "transition"), ("metrics", "confusion")):
        matrix = record[part].get(name) or []
        if any(len(row) != len(matrix) for row in matrix):
            return f"has no square matrix as its {name}"
    return None


def with_records(chosen: Table, datasets: set[str]) -> Table:
    """The rows and columns of a table whose cells may have records of these data sets; composing a cell takes time."""

    def may(row: str, column: str) -> bool:
        overrides = table.overrides_of(chosen, row, column, chosen.seeds[0])
        named = [override.removeprefix("dataset=") for override in overrides if override.startswith("dataset=")]
        return not named or named[-1] in datasets

    places = [place for place in product(chosen.rows, chosen.columns) if may(*place)]
    rows, columns = ({place[i] for place in places} for i in (0, 1))
    return chosen._replace(
        rows={row: own for row, own in chosen.rows.items() if row in rows},
        columns={column: own for column, own in chosen.columns.items() if column in columns},
    )
