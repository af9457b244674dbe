"""What the report shows: every table with its results, and every record of a results folder.

The one file of the report that reads tables and records; the others get plain values.
"""

from pathlib import Path
from typing import NamedTuple

from labelnoise.experiment import records
from labelnoise.experiment.compose import compose
from labelnoise.experiment.groups import choices
from labelnoise.experiment.records import Record
from labelnoise.report.commands import command_of, targets, targets_of
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
    there = {_traits(record) for record in found.values()}
    sheets: list[Sheet] = []
    commands: dict[str, Overrides] = {}
    for name in sorted((n for n in choices("table") if n != "none"), key=lambda name: (name != "digits", name)):
        chosen = table.read([f"table={name}"])
        part = _within_reach(chosen, there)
        cells = table.cells(part) if part.rows and part.columns else []
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
            if lacking := fault(record):
                raise ValueError(f"{path} {lacking}")
            found[path.stem] = record
        except (ValueError, OSError) as error:
            records.report(path, str(error))
    return found


def fault(record: Record) -> str | None:
    """Why a whole record cannot be shown; None where it can."""
    dataset = record["config"].get("dataset")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("name"), str):
        return "names no data set"
    for part, name in (("noise", "transition"), ("metrics", "confusion")):
        matrix = record[part].get(name) or []
        if any(len(row) != len(matrix) for row in matrix):
            return f"has no square matrix as its {name}"
    return None


Traits = tuple[str, frozenset[str], float | None]  # of a run: its data set, its loss's functions, its noise's rate


def _traits(record: Record) -> Traits:
    config = record["config"]
    noise, loss = config.get("noise"), config.get("loss")
    rate = noise.get("rate") if isinstance(noise, dict) else None
    functions = targets_of(loss) if isinstance(loss, dict) else frozenset[str]()
    return config["dataset"]["name"], functions, float(rate) if isinstance(rate, int | float) else None


def _within_reach(chosen: Table, there: set[Traits]) -> Table:
    """The rows and columns of a table in which a record may have a place, by what their overrides say.

    Composing a cell to learn its id takes a twentieth of a second, and most tables have no records.
    """
    places = [
        (row, column)
        for row in chosen.rows
        for column in chosen.columns
        if _agree(table.overrides_of(chosen, row, column, chosen.seeds[0]), there)
    ]
    return chosen._replace(
        rows={row: own for row, own in chosen.rows.items() if any(row == place[0] for place in places)},
        columns={column: own for column, own in chosen.columns.items() if any(column == place[1] for place in places)},
    )


def _agree(overrides: Overrides, there: set[Traits]) -> bool:
    """Whether a run with any of these traits may be what the overrides compose; what is not said may be anything."""
    said = dict(override.partition("=")[::2] for override in overrides)
    loss = said.get("loss")
    functions = targets("loss", loss) if loss in choices("loss") else None
    return any(
        said.get("dataset", dataset) == dataset
        and (functions is None or not functions.isdisjoint(own))
        and ("rate" not in said or (rate is not None and f"{rate:g}" == said["rate"]))
        for dataset, own, rate in there
    )
