"""Print a table of results beside the published numbers. Takes train.py's overrides, applied to every cell.

python scripts/table.py table=digits
python scripts/table.py table=cifar10_zhou2021 format=json table.rows=[ce,agce] table.columns=[sym_0.4] table.seeds=[1]

format=markdown (the default), latex, csv, html, json, or status: one line that says how far the table is. Records are
looked for in results= (runs) and among the committed ones. What is missing is shown as missing and is no error.
"""

import sys
from pathlib import Path

from labelnoise.cli.errors import check_flags, script
from labelnoise.experiment import records
from labelnoise.experiment.compose import compose
from labelnoise.files import claims
from labelnoise.tables import comparison, rendering
from labelnoise.tables import table as tables
from labelnoise.tables.table import Cell, Table


def table(arguments: list[str]) -> None:
    """Print the table in the format that is asked for."""
    check_flags(arguments)
    form = next((a.removeprefix("format=") for a in reversed(arguments) if a.startswith("format=")), "markdown")
    known = [*rendering.FORMATS, "status"]
    if form not in known:
        raise ValueError(f"format={form}: must be one of {', '.join(known)}")
    overrides = [a for a in arguments if not a.startswith("format=")]
    choice, extra = tables.split_arguments(overrides)
    chosen = tables.read(choice)
    cells = tables.cells(chosen, extra)
    folder = Path(compose([o for o in extra if o.startswith("results=")]).results)
    found = {cell.run_id: record for cell in cells if (record := records.find(cell.run_id, folder))}
    print(status(chosen, cells, found, folder) if form == "status" else render(chosen, cells, found, form, overrides))


def render(chosen: Table, cells: list[Cell], found: dict[str, records.Record], form: str, overrides: list[str]) -> str:
    """The table in one of the formats, without the last line's end."""
    results = comparison.results(chosen, cells, found)
    words = " ".join(overrides)
    commands = [f"python train.py -m {words}", f"python scripts/table.py {words} format={form}"]
    sheet = rendering.Sheet(chosen, results, rendering.beneath(chosen, results, list(found.values()), commands))
    return rendering.FORMATS[form](sheet).removesuffix("\n")


def status(chosen: Table, cells: list[Cell], found: dict[str, records.Record], folder: Path) -> str:
    """One line. Running: a living owner holds the claim. Failed: its owner died and left the claim behind."""
    left = [folder / f"{cell.run_id}.claim" for cell in cells if cell.run_id not in found]
    running = sum(claims.living(path) for path in left)
    failed = sum(path.exists() for path in left) - running
    seconds = [record["environment"].get("seconds", 0.0) for record in found.values()]
    return rendering.status(chosen.name, len(found), running, failed, len(left) - running - failed, seconds)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    script(table, __doc__)
