"""Print a table of results beside the published numbers. Takes train's options, applied to every cell.

labelnoise table table=digits
labelnoise table table=cifar10_zhou2021 format=json table.rows=[ce,agce] table.columns=[sym_0.4] table.seeds=[1]

format=markdown (the default), latex, csv, html, json, or status: one line of progress. Records are read from results=
(default: runs) and from the committed ones. Missing results are shown as missing; they are not an error.
"""

from pathlib import Path

from labelnoise.cli.arguments import split_named
from labelnoise.config.compose import prepared
from labelnoise.experiment.progress import duration
from labelnoise.files import claims
from labelnoise.records import store
from labelnoise.tables.render import FORMATS, render
from labelnoise.tables.table import Table, cells, read_with_folder, split_arguments


def table(arguments: list[str]) -> None:
    """Print the table in the requested format.

    Args:
        arguments: table=, table.* to select part of it, format=, and overrides for every cell.
    Raises:
        ValueError: an argument is wrong; one line says which and what is allowed.
    """
    given, overrides = split_named(arguments, "format")
    form = given.get("format", "markdown")
    if form not in (*FORMATS, "status"):
        raise ValueError(f"format={form}: must be one of {', '.join([*FORMATS, 'status'])}")
    prepared(overrides)  # report a wrong override before any cell is named
    choice, extra = split_arguments(overrides)
    chosen, results = read_with_folder(choice, [o for o in extra if o.startswith("results=")])
    wanted, folder = cells(chosen, extra), Path(results)
    found = {cell.run_id: record for cell in wanted if (record := store.find(cell.run_id, folder))}
    if form == "status":
        left = [folder / f"{cell.run_id}.claim" for cell in wanted if cell.run_id not in found]
        print(status(chosen, len(wanted), found, left))
    else:
        print(render(chosen, wanted, found, form, overrides))


def status(table: Table, wanted: int, found: dict[str, store.Record], left: list[Path]) -> str:
    """A table's progress in one line. The time left is estimated from the records.

    Running: a live process holds the claim. Failed: its process died and left the claim behind.

    Args:
        wanted: number of its cells.
        left: the claims' paths of the cells without a record.
    """
    running = sum(claims.living(path) for path in left)
    failed = sum(path.exists() for path in left) - running
    missing = len(left) - running - failed
    line = f"{table.name}: {len(found)} of {wanted} done, {running} running, {failed} failed, {missing} missing"
    if not left:
        return line
    seconds = [record["environment"].get("seconds", 0.0) for record in found.values()]
    if not seconds:
        return f"{line}; time left unknown: no records yet"
    at_once = max(running, 1)
    time = duration(len(left) * sum(seconds) / len(seconds) / at_once)
    return f"{line}; about {time} left at {at_once} at a time"
