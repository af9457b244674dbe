"""Any records as one line per setting, mean ± standard deviation over its seeds; or epoch by epoch."""

import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from labelnoise.files.text import plain
from labelnoise.records.store import Record
from labelnoise.tables import escaping
from labelnoise.tables.machine_readable import csv_of
from labelnoise.tables.markdown import bars
from labelnoise.tables.settings import SEEDS, VALIDATION, Setting, accuracy, best_of_tasks, named_options, settings
from labelnoise.tables.sheet import counted

NONE = "–"  # in a cell without a value


def as_markdown(records: Sequence[Record], metric: str, ranked: bool) -> str:
    """A table of the settings; if ranked, the best for each data set and noise is bold."""
    found = settings(records, metric, ranked)
    shown = list(found[0].values)
    bold = best_of_tasks(found) if ranked else ()
    beside = ["test_acc_val"] if metric == VALIDATION else []
    lines = [bars([*map(escaping.markdown, [*shown, metric, *beside]), "best epoch (oracle)", "wrong labels"])]
    lines.append(bars(["---"] * (len(shown) + len(beside) + 3)))
    for place, setting in enumerate(found):
        values = [NONE if value is None else escaping.markdown(_text(value)) for value in setting.values.values()]
        mean, *rest = _mean(setting.numbers(metric)).split(" ", 1)
        mean = " ".join([f"**{mean}**" if place in bold else mean, *rest])
        rate = "unknown" if setting.realised_rate is None else f"{setting.realised_rate:.2f}%"
        others = [_mean(setting.numbers(name)) for name in beside]
        lines.append(bars([*values, mean, *others, f"{setting.best:.2f}", rate]))
    said = _beneath(records, shown, metric, ranked)
    return "\n".join([*lines, "", *(f"- {escaping.markdown(line)}" for line in said)]) + "\n"


def _mean(numbers: list[float]) -> str:
    """75.12 ± 0.30 (3)."""
    if not numbers:
        return NONE
    spread = f" ± {statistics.stdev(numbers):.2f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):.2f}{spread} ({len(numbers)})"


def _beneath(records: Sequence[Record], shown: Sequence[str], metric: str, ranked: bool) -> list[str]:
    options = [named_options(record["config"]) for record in records]
    same = {
        key: value
        for key, value in options[0].items()
        if "." not in key and key not in (*SEEDS, *shown) and all(one.get(key) == value for one in options)
    }
    lines = [
        f"Records: {len(records)}. Accuracy in percent, mean ± standard deviation (number of seeds).",
        _ranking(records, metric, ranked),
        "Best epoch (oracle): of the epoch that is best on the test set, which no one can choose without it.",
    ]
    if same:
        lines.append(f"The same in all: {', '.join(f'{key}={_text(value)}' for key, value in same.items())}.")
    return [*lines, f"Commits: {counted(records, 'commit')}. Machines: {counted(records, 'machine')}."]


def _ranking(records: Sequence[Record], metric: str, ranked: bool) -> str:
    """By what the settings are ranked, and what that is good for."""
    if metric == VALIDATION:
        return f"Ranked by {metric}, on held-out images: choose a setting by it, and report its test_acc_val."
    if ranked:
        oracle = ", itself an oracle" if metric == "test_acc_best" else ""
        return (
            f"Ranked by the test set ({metric}{oracle}). This compares settings; "
            "the accuracy of one that is chosen by it is too high."
        )
    held_out = sum(accuracy(record, VALIDATION) is not None for record in records)
    return (
        f"Not ranked: {held_out} of {len(records)} records have held-out images (num_val=) to choose a setting by. "
        f"metric={metric} ranks by the test set."
    )


def _text(value: Any) -> str:
    return plain(value if isinstance(value, str) else json.dumps(value))


def _entry(setting: Setting) -> dict[str, Any]:
    numbers: dict[str, Any] = {"mean": setting.mean, "std": setting.std, "n": setting.n}
    if setting.metric == VALIDATION:
        test = setting.numbers("test_acc_val")
        numbers["test_acc_val_mean"] = statistics.fmean(test) if test else None
        numbers["test_acc_val_std"] = statistics.stdev(test) if len(test) > 1 else None
    numbers["best_epoch_oracle_mean"] = setting.best
    numbers["realised_rate"] = None if setting.realised_rate is None else setting.realised_rate / 100
    rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in numbers.items()}
    run_ids = [record["run_id"] for record in setting.records]
    return {**setting.values, "metric": setting.metric, **rounded, "run_ids": run_ids}


def as_csv(records: Sequence[Record], metric: str, ranked: bool) -> str:
    """A line for every setting; empty where there is no value."""
    return csv_of(
        [
            {
                **{key: escaping.csv_cell(_text(v)) if isinstance(v, str | list | dict) else v for key, v in e.items()},
                "run_ids": " ".join(e["run_ids"]),
            }
            for e in map(_entry, settings(records, metric, ranked))
        ]
    )


def as_json(records: Sequence[Record], metric: str, ranked: bool) -> str:
    """A list of the settings; null where there is no value."""
    return json.dumps([_entry(setting) for setting in settings(records, metric, ranked)], indent=1) + "\n"


def history(records: Sequence[Record], *_: object) -> str:
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


def classes(records: Sequence[Record], *_: object) -> str:
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


FORMATS: dict[str, Callable[[Sequence[Record], str, bool], str]] = {
    "markdown": as_markdown,
    "csv": as_csv,
    "json": as_json,
    "history": history,
    "classes": classes,
}
