"""What the report shows: every table with its results, and every record of a results folder.

The one file of the report that reads tables and records; the others get plain values.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from labelnoise.experiment import records
from labelnoise.experiment.compose import compose
from labelnoise.experiment.groups import choices
from labelnoise.experiment.records import Record
from labelnoise.report.commands import command_of
from labelnoise.tables import comparison, table
from labelnoise.tables.comparison import Result
from labelnoise.tables.table import Overrides, Table


class Sheet(NamedTuple):
    """A table with a result for every row and column, those without records included."""

    table: Table
    results: list[Result]


class Collection(NamedTuple):
    """Attributes: sheets; records, by run id; commands, what `train.py` takes to repeat a run, by run id; none
    for a run that no command of this version repeats."""

    sheets: list[Sheet]
    records: dict[str, Record]
    commands: dict[str, Overrides]


def collect(results: str | Path) -> Collection:
    """Every table and every record in `results` or among the committed ones.

    A file that is no record is reported on standard error and left out.
    """
    found = read_records(results)
    datasets = {record["config"]["dataset"]["name"] for record in found.values()}
    sheets: list[Sheet] = []
    commands: dict[str, Overrides] = {}
    for name in sorted((n for n in choices("table") if n != "none"), key=lambda name: (name != "digits", name)):
        chosen = table.read([f"table={name}"])
        # Composing a table's cells takes seconds: not done where no record can be one of them.
        cells = table.cells(chosen) if _dataset(chosen) in {None, *datasets} else []
        commands |= {cell.run_id: cell.overrides for cell in cells if cell.run_id in found}
        sheets.append(Sheet(chosen, comparison.results(chosen, cells, found)))
    for identifier, record in found.items():
        if identifier not in commands and (overrides := command_of(record)):
            commands[identifier] = overrides
    return Collection(sheets, found, commands)


def default_folder() -> str:
    """The results folder where none is given: that of train.py."""
    return str(compose([]).results)


def read_records(results: str | Path) -> dict[str, Record]:
    """The whole records of a folder, and the committed ones that it does not hold, by run id.

    Raises:
        ValueError: the folder is not there.
    """
    folder = Path(results)
    if not folder.is_dir() and folder != Path(default_folder()):
        raise ValueError(f"results={results}: no such folder")
    found: dict[str, Record] = {}
    for path in (*sorted(folder.glob("*.json")), *sorted(records.COMMITTED.glob("*.json"))):
        if path.stem in found:
            continue
        try:
            record = records.load(path)
            if reason := fault(record):
                raise ValueError(f"{path} {reason}")
            found[path.stem] = record
        except (ValueError, OSError) as error:
            print(f"{error}; left out", file=sys.stderr)
    return found


def fault(record: Record) -> str | None:
    """Why a record cannot be shown; None where it can."""
    dataset = record["config"].get("dataset")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("name"), str):
        return "names no data set"
    for name, values in record["history"].items():
        if not isinstance(values, list) or not all(value is None or _number(value) for value in values):
            return f"has no numbers in its history of {name}"
    for part, name in (("noise", "transition"), ("metrics", "confusion")):
        matrix = record[part].get(name)
        if matrix is not None and not _square(matrix):
            return f"has no square matrix as its {name}"
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # not NaN either


def _square(matrix: Any) -> bool:
    return isinstance(matrix, list) and all(
        isinstance(row, list) and len(row) == len(matrix) and all(map(_number, row)) for row in matrix
    )


def _dataset(chosen: Table) -> str | None:
    named = [o.removeprefix("dataset=") for o in chosen.common if o.startswith("dataset=")]
    return named[-1] if named else None
