"""Summarise any records: one line per setting, mean ± standard deviation over its seeds, the best first.

labelnoise summary                      the records in results= (runs)
labelnoise summary runs more.tar.gz metric=test_acc_last10 format=csv
labelnoise summary runs/0123456789ab.json format=history

A PATH is a record, a folder with records in it, or a tar archive of them. Settings differ in at least one option;
results are averaged over seeds. metric=test_acc_last (the default), test_acc_best, test_acc_last10 or test_acc_val.
format=markdown (the default), csv or json, or a CSV of the records themselves: history, a line for every epoch, or
classes, the accuracy of every class after the last epoch.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from labelnoise.config.compose import compose
from labelnoise.files.text import plain
from labelnoise.records.store import Record
from labelnoise.tables import escaping
from labelnoise.tables.machine_readable import csv_of
from labelnoise.tables.markdown import bars
from labelnoise.tables.record_files import read
from labelnoise.tables.settings import SEEDS, Setting, best_of_tasks, named_options, settings
from labelnoise.tables.sheet import counted
from labelnoise.tables.table import METRICS

NONE = "–"  # in a cell without a value


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


# ---------------------------------------------------------------------------------------------------------- settings


def as_markdown(records: Sequence[Record], metric: str) -> str:
    """A table of the settings; the best for each data set and noise is bold."""
    found = settings(records, metric)
    shown = list(found[0].values)
    bold = best_of_tasks(found)
    lines = [bars([*map(escaping.markdown, shown), metric.replace("_", r"\_"), "best epoch", "wrong labels"])]
    lines.append(bars(["---"] * (len(shown) + 3)))
    for place, setting in enumerate(found):
        values = [NONE if value is None else escaping.markdown(_text(value)) for value in setting.values.values()]
        mean = NONE if setting.mean is None else f"{setting.mean:.2f}"
        mean = f"**{mean}**" if place in bold else mean
        spread = "" if setting.std is None else f" ± {setting.std:.2f}"
        count = f" ({setting.n})" if setting.n else ""
        rate = "unknown" if setting.realised_rate is None else f"{setting.realised_rate:.2f}%"
        lines.append(bars([*values, f"{mean}{spread}{count}", f"{setting.best:.2f}", rate]))
    return "\n".join([*lines, "", *(f"- {escaping.markdown(line)}" for line in _beneath(records, shown))]) + "\n"


def _beneath(records: Sequence[Record], shown: Sequence[str]) -> list[str]:
    options = [named_options(record["config"]) for record in records]
    same = {
        key: value
        for key, value in options[0].items()
        if "." not in key and key not in (*SEEDS, *shown) and all(one.get(key) == value for one in options)
    }
    lines = [
        f"Records: {len(records)}. Test accuracy in percent, mean ± standard deviation (number of seeds). "
        "best epoch is an oracle: chosen on the test set."
    ]
    if same:
        lines.append(f"The same in all: {', '.join(f'{key}={_text(value)}' for key, value in same.items())}.")
    return [*lines, f"Commits: {counted(records, 'commit')}. Machines: {counted(records, 'machine')}."]


def _text(value: Any) -> str:
    return plain(value if isinstance(value, str) else json.dumps(value))


def _entry(setting: Setting) -> dict[str, Any]:
    numbers = {"mean": setting.mean, "std": setting.std, "n": setting.n, "best_epoch_mean": setting.best}
    numbers["realised_rate"] = None if setting.realised_rate is None else setting.realised_rate / 100
    rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in numbers.items()}
    return {**setting.values, **rounded, "run_ids": [record["run_id"] for record in setting.records]}


def as_csv(records: Sequence[Record], metric: str) -> str:
    """A line for every setting; empty where there is no value."""
    return csv_of(
        [
            {
                **{key: escaping.csv_cell(_text(v)) if isinstance(v, str | list | dict) else v for key, v in e.items()},
                "run_ids": " ".join(e["run_ids"]),
            }
            for e in map(_entry, settings(records, metric))
        ]
    )


def as_json(records: Sequence[Record], metric: str) -> str:
    """A list of the settings; null where there is no value."""
    return json.dumps([_entry(setting) for setting in settings(records, metric)], indent=1) + "\n"


# ------------------------------------------------------------------------------------------------------ the records


def history(records: Sequence[Record], _: str = "") -> str:
    """CSV with a line for every epoch of every record; empty where a value is null."""
    names = dict.fromkeys(name for record in records for name in record["history"])
    lines = []
    for record in records:
        columns = {name: column for name, column in record["history"].items() if column is not None}
        for epoch in range(max(map(len, columns.values()), default=0)):
            values = {escaping.csv_cell(name): columns[name][epoch] if name in columns else None for name in names}
            lines.append({"run_id": record["run_id"], "epoch": epoch + 1, **values})
    if not lines:
        raise ValueError("format=history: the records hold no history")
    return csv_of(lines)


def classes(records: Sequence[Record], _: str = "") -> str:
    """CSV with a line for every class of every record: number of test images, accuracy after the last epoch."""
    lines = []
    for record in records:
        for number, row in enumerate(record["metrics"].get("confusion") or []):
            right, images = (row[number] if number < len(row) else 0), sum(row)
            accuracy = round(right / images, 6) if images else None
            lines.append({"run_id": record["run_id"], "class": number, "images": images, "accuracy": accuracy})
    if not lines:
        raise ValueError("format=classes: the records hold no confusion matrix")
    return csv_of(lines)


FORMATS: dict[str, Callable[[Sequence[Record], str], str]] = {
    "markdown": as_markdown,
    "csv": as_csv,
    "json": as_json,
    "history": history,
    "classes": classes,
}
