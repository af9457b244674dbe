"""What the report shows: every table with its results, and every record of a results folder.

Only this file of the report reads tables and records; the others get plain values.
"""

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from labelnoise.config import merged
from labelnoise.config.groups import CONFIGS, choices, typed
from labelnoise.records import store
from labelnoise.records.store import Record
from labelnoise.report.commands import command_of, known_options, targets, targets_of
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
    present = {traits(record) for record in found.values()}
    sheets: list[Sheet] = []
    commands: dict[str, Overrides] = {}
    known = [name] if name else [n for n in choices("table", own) if n != "none"]
    for name in sorted(known, key=lambda name: (name != "digits", name)):
        chosen = table.read([f"table={name}", *own])
        if chosen.path.parent != CONFIGS / "table":
            for line in unread(chosen, own):
                print(line, file=sys.stderr)
        part = with_records(chosen, present)
        cells = table.cells(part, own) if part.rows and part.columns else []
        commands |= {cell.run_id: tuple(typed(cell.overrides)) for cell in cells if cell.run_id in found}
        compared = comparison.results(chosen, cells, found)
        of_table = [found[identifier] for identifier in dict.fromkeys(i for one in compared for i in one.run_ids)]
        sheets.append(Sheet(chosen, compared, beneath(chosen, compared, of_table, [])))
    for identifier, record in found.items():
        if identifier not in commands and (overrides := command_of(record)):
            commands[identifier] = overrides
    return Collection(sheets, found, commands)


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


Traits = tuple[str, frozenset[str], float | None]  # a run's data set, loss functions and noise rate


def traits(record: Record) -> Traits:
    """The data set, the loss functions and the noise rate of a record."""
    config = record["config"]
    noise, loss = config.get("noise"), config.get("loss")
    rate = noise.get("rate") if isinstance(noise, dict) else None
    functions = targets_of(loss) if isinstance(loss, dict) else frozenset[str]()
    return config["dataset"]["name"], functions, float(rate) if isinstance(rate, int | float) else None


def with_records(chosen: Table, present: set[Traits]) -> Table:
    """The rows and columns of a table that may have records, judged by their overrides.

    Composing a cell to find its id takes 50 ms, and most tables have no records.
    """
    candidates = [
        place
        for place in product(chosen.rows, chosen.columns)
        if _matches(table.overrides_of(chosen, *place, chosen.seeds[0]), present)
    ]
    return chosen._replace(
        rows={row: own for row, own in chosen.rows.items() if any(row == pair[0] for pair in candidates)},
        columns={col: own for col, own in chosen.columns.items() if any(col == pair[1] for pair in candidates)},
    )


def _matches(overrides: Overrides, present: set[Traits]) -> bool:
    """Whether the overrides may compose a run with any of these traits; an option that is not set matches all."""
    given = dict(override.partition("=")[::2] for override in overrides)
    loss = given.get("loss")
    functions = targets("loss", loss) if loss in known_options("loss") else None
    return any(
        given.get("dataset", dataset) == dataset
        and (functions is None or not functions.isdisjoint(own))
        and ("rate" not in given or (rate is not None and f"{rate:g}" == given["rate"]))
        for dataset, own, rate in present
    )
