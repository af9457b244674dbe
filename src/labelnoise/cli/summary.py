"""Summarise any records: one line per setting, mean ± standard deviation over its seeds.

labelnoise summary                      the records in results= (runs)
labelnoise summary runs more.tar.gz metric=test_acc_last10 format=csv
labelnoise summary runs/0123456789ab.json format=history
labelnoise summary table=mine --config-dir DIR

A PATH is a record, a folder with records in it, or a tar archive of them. Settings differ in at least one option;
results are averaged over seeds. table= takes the records of a table alone, with table.rows= and so on; without a PATH
they are those that `labelnoise table` reads.

metric=val_acc, the accuracy on held-out images, or test_acc_last, test_acc_last10, test_acc_val or test_acc_best (an
oracle: chosen on the test set). The settings of a data set and noise are ranked by it, the best first. Without metric=
they are ranked by val_acc if all records have it; otherwise test_acc_last is shown, and they are not ranked.

format=markdown (the default), csv or json, or a CSV of the records themselves: history, a line for every epoch, or
classes, the accuracy of every class after the last epoch.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from labelnoise.cli.arguments import split_named
from labelnoise.config.groups import SEARCHPATH
from labelnoise.config.merged import values
from labelnoise.records.store import Record
from labelnoise.tables import found
from labelnoise.tables.record_files import read
from labelnoise.tables.settings import VALIDATION, accuracy
from labelnoise.tables.summary import FORMATS
from labelnoise.tables.table import METRICS, cells, split_arguments
from labelnoise.tables.table import read as read_table


def summary(arguments: list[str]) -> None:
    """Print the summary in the requested format.

    Args:
        arguments: paths, metric=, format=, results=, the folder if no path is given; table=, table.* and overrides.
    Raises:
        ValueError: an argument is wrong, or a path holds no records.
    """
    given, rest = split_named(arguments, "metric", "format", "results")
    form = given.get("format", "markdown")
    metric, known = given.get("metric"), (VALIDATION, *METRICS)
    if metric not in (None, *known):
        raise ValueError(f"metric={metric}: must be one of {', '.join(known)}")
    if form not in FORMATS:
        raise ValueError(f"format={form}: must be one of {', '.join(FORMATS)}")
    folder = [f"results={given['results']}"] if given.get("results") else []
    if any(word.startswith("table=") for word in rest):
        records = _of_a_table(rest, folder)
    else:
        paths = [word for word in rest if not word.startswith(SEARCHPATH)] or values(folder, "results")
        records = _each_run_once(read(paths)[0])
        if not records:
            raise ValueError(f"{', '.join(paths)}: no complete record")
    held_out = all(accuracy(record, VALIDATION) is not None for record in records)
    shown = metric or (VALIDATION if held_out else METRICS[0])
    print(FORMATS[form](records, shown, held_out or metric is not None).removesuffix("\n"))


def _of_a_table(words: Sequence[str], folder: list[str]) -> list[Record]:
    """The records of a table's cells, from the paths among the words, else from the results folder."""
    paths = [word for word in words if "=" not in word or Path(word).exists()]
    choice, extra = split_arguments([word for word in words if word not in paths])
    chosen = read_table(choice)
    options = [*folder, *(o for o in extra if o.startswith("accept_changed="))]
    results, accept_changed = values(options, "results", "accept_changed")
    wanted = cells(chosen, extra)
    if paths:
        ids = {cell.run_id for cell in wanted}
        records = [record for record in _each_run_once(read(paths)[0]) if record["run_id"] in ids]
    else:
        done = found.find(wanted, results, accept_changed)
        if done.changed:
            print(f"table={chosen.name}: {done.told()}", file=sys.stderr)
        records = list(done.records.values())
    if not records:
        where = ", ".join(paths) or f"results={results}"
        raise ValueError(f"{where}: has none of the {len(wanted)} runs of this part of table={chosen.name}")
    return records


def _each_run_once(records: list[Record]) -> list[Record]:
    once: dict[str, Record] = {}
    for record in records:
        first = once.setdefault(record["run_id"], record)
        if first["metrics"] != record["metrics"]:
            print(f"{record['run_id']}: comes twice with different metrics; the first is used", file=sys.stderr)
    return list(once.values())
