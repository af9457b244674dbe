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
    chosen = {"metric": METRICS[0], "format": "markdown", "results": ""}
    named = [a for a in arguments if a.partition("=")[0] in chosen]
    chosen |= {name: value for name, _, value in (a.partition("=") for a in named)}
    if chosen["metric"] not in METRICS:
        raise ValueError(f"metric={chosen['metric']}: must be one of {', '.join(METRICS)}")
    if chosen["format"] not in FORMATS:
        raise ValueError(f"format={chosen['format']}: must be one of {', '.join(FORMATS)}")
    paths = [a for a in arguments if a not in named] or [chosen["results"] or str(compose([]).results)]
    records = _each_run_once(read(paths)[0])
    if not records:
        raise ValueError(f"{', '.join(paths)}: no whole record")
    print(FORMATS[chosen["format"]](records, chosen["metric"]).removesuffix("\n"))


def _each_run_once(records: list[Record]) -> list[Record]:
    found: dict[str, Record] = {}
    for record in records:
        first = found.setdefault(record["run_id"], record)
        if first["metrics"] != record["metrics"]:
            print(f"{record['run_id']}: comes twice with different metrics; the first is used", file=sys.stderr)
    return list(found.values())
