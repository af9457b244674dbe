"""Any records as one line per setting, mean ± standard deviation over its seeds, the best first; or epoch by epoch."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from labelnoise.files.text import plain
from labelnoise.records.store import Record
from labelnoise.tables import escaping
from labelnoise.tables.machine_readable import csv_of
from labelnoise.tables.markdown import bars
from labelnoise.tables.settings import SEEDS, Setting, best_of_tasks, named_options, settings
from labelnoise.tables.sheet import counted

NONE = "–"  # in a cell without a value


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


def history(records: Sequence[Record], _: str) -> str:
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


def classes(records: Sequence[Record], _: str) -> str:
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
