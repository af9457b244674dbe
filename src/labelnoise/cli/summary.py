"""Summarise any records: one line per setting, mean ± standard deviation over its seeds, the best first.

labelnoise summary                      the records in results= (runs)
labelnoise summary runs more.tar.gz metric=test_acc_last10 format=csv
labelnoise summary runs/0123456789ab.json format=history

A PATH is a record, a folder with records in it, or a tar archive of them. Settings differ in at least one option;
results are averaged over seeds. metric=test_acc_last (the default), test_acc_best, test_acc_last10 or test_acc_val.
format=markdown (the default), csv or json, or a CSV of the records themselves: history, a line for every epoch, or
classes, the accuracy of every class after the last epoch.
"""

import sys

from labelnoise.cli.arguments import split_named
from labelnoise.config.compose import compose
from labelnoise.records.store import Record
from labelnoise.tables.record_files import read
from labelnoise.tables.summary import FORMATS
from labelnoise.tables.table import METRICS


def summary(arguments: list[str]) -> None:
    """Print the summary in the requested format.

    Args:
        arguments: paths, metric=, format=, and results=, the folder if no path is given.
    Raises:
        ValueError: an argument is wrong, or a path holds no records.
    """
    given, paths = split_named(arguments, "metric", "format", "results")
    metric, form = given.get("metric", METRICS[0]), given.get("format", "markdown")
    if metric not in METRICS:
        raise ValueError(f"metric={metric}: must be one of {', '.join(METRICS)}")
    if form not in FORMATS:
        raise ValueError(f"format={form}: must be one of {', '.join(FORMATS)}")
    paths = paths or [given.get("results") or str(compose([]).results)]
    records = _each_run_once(read(paths)[0])
    if not records:
        raise ValueError(f"{', '.join(paths)}: no complete record")
    print(FORMATS[form](records, metric).removesuffix("\n"))


def _each_run_once(records: list[Record]) -> list[Record]:
    found: dict[str, Record] = {}
    for record in records:
        first = found.setdefault(record["run_id"], record)
        if first["metrics"] != record["metrics"]:
            print(f"{record['run_id']}: comes twice with different metrics; the first is used", file=sys.stderr)
    return list(found.values())
