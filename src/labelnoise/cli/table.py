"""Print a table of results beside the published numbers. Takes train's options, applied to every cell.

labelnoise table table=digits
labelnoise table table=cifar10_zhou2021 format=json table.rows=[ce,agce] table.columns=[sym_0.4] table.seeds=[1]

format=markdown (the default), latex, csv, html, json, or status: one line of progress. Records are read from results=
(default: runs) and from the committed ones. Missing results are shown as missing; they are not an error.

test=best       test the best row of each column against each other row: paired over seeds where both rows have the
                same seeds and labels, otherwise Welch's; ‡ marks p < 0.05
test=ROW        the same against a row that you name
correction=holm Holm's correction, over the tests of a column
"""

import sys
from pathlib import Path

from labelnoise.cli.arguments import split_named
from labelnoise.config.compose import prepared
from labelnoise.config.merged import values
from labelnoise.experiment.progress import duration
from labelnoise.files import claims
from labelnoise.tables import found
from labelnoise.tables.published import unread
from labelnoise.tables.render import FORMATS, render
from labelnoise.tables.significance import BEST, HOLM
from labelnoise.tables.table import Table, cells, read, split_arguments


def table(arguments: list[str]) -> None:
    """Print the table in the requested format.

    Args:
        arguments: table=, table.* to select part of it, format=, test=, correction=, and overrides for every cell.
    Raises:
        ValueError: an argument is wrong; one line says which and what is allowed.
    """
    given, overrides = split_named(arguments, "format", "test", "correction")
    form, against, correction = given.get("format", "markdown"), given.get("test"), given.get("correction")
    if form not in (*FORMATS, "status"):
        raise ValueError(f"format={form}: must be one of {', '.join([*FORMATS, 'status'])}")
    if correction not in (None, HOLM):
        raise ValueError(f"correction={correction}: must be {HOLM}")
    if correction and against is None:
        raise ValueError(f"correction={correction}: needs tests to correct, test={BEST} or test=ROW")
    prepared(overrides)  # report a wrong override before any cell is named
    choice, extra = split_arguments(overrides)
    chosen = read(choice)
    where = [o for o in extra if o.startswith(("results=", "accept_changed="))]
    results, accept_changed = values(where, "results", "accept_changed")
    if against not in (None, BEST, *chosen.rows):
        raise ValueError(f"test={against}: must be {BEST} or a row of the table: {', '.join(chosen.rows)}")
    wanted, folder = cells(chosen, extra), Path(results)
    done = found.find(wanted, folder, accept_changed)
    if form == "status":
        left = [folder / f"{cell.run_id}.claim" for cell in wanted if cell.run_id not in done.records]
        print(status(chosen, len(wanted), done, left))
        return
    if done.changed:
        print(f"table={chosen.name}: {done.told()}", file=sys.stderr)
        chosen = chosen._replace(notes=[*chosen.notes, f"{done.told()}."])
    for line in unread(chosen, overrides):
        print(line, file=sys.stderr)
    print(render(chosen, wanted, done.records, form, overrides, against, correction == HOLM))


def status(table: Table, wanted: int, done: found.Found, left: list[Path]) -> str:
    """A table's progress in one line. The time left is estimated from the records.

    Running: a live process holds the claim. Failed: its process died and left the claim behind. Changed: its record was
    made before source files of the user's own changed.

    Args:
        wanted: number of its cells.
        left: the claims' paths of the cells without a record.
    """
    running = sum(claims.living(path) for path in left)
    failed = sum(path.exists() for path in left) - running
    changed = len(done.changed)
    missing = len(left) - running - failed - changed
    line = f"{table.name}: {len(done.records)} of {wanted} done, {running} running, {failed} failed, {missing} missing"
    if changed:
        line += f", {changed} changed"
    if not left:
        return line
    seconds = [record["environment"].get("seconds", 0.0) for record in done.records.values()]
    if not seconds:
        return f"{line}; time left unknown: no records yet"
    at_once = max(running, 1)
    time = duration(len(left) * sum(seconds) / len(seconds) / at_once)
    return f"{line}; about {time} left at {at_once} at a time"
