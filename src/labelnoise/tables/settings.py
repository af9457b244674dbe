"""Records grouped into settings: a setting is a configuration without its seeds."""

import json
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from labelnoise.config.identity import identity
from labelnoise.config.naming import named
from labelnoise.records.store import Record

SEEDS = ("seed_noise", "seed_init", "seed_data")
# Always shown if they differ, in this order. Other options are shown only if needed to tell settings apart.
FIRST = ("dataset", "dataset.imbalance", "noise", "noise.rate", "loss", "method", "network")
# Only settings of the same task are compared with each other.
TASK = ("dataset", "dataset.imbalance", "noise", "noise.rate")
VALIDATION = "val_acc"  # the accuracy on held-out images, at the epoch that it chooses


def accuracy(record: Record, metric: str) -> float | None:
    """A metric of a record, or VALIDATION, a fraction; None if it has none. As in `experiment.metrics.summarise`."""
    if metric != VALIDATION:
        return record["metrics"].get(metric)
    stages = record["history"].get("stage") or [0]
    values = (record["history"].get(VALIDATION) or [])[stages.index(stages[-1]) :]
    return max((value for value in values if value is not None), default=None)


class Setting(NamedTuple):
    """The records of one setting.

    Attributes:
        values: the options that differ between settings; None for an option that this one does not have.
        task: the values of `TASK`.
        records: one for each choice of seeds.
        metric: the records' metric that `n`, `mean` and `std` use.
    """

    values: dict[str, Any]
    task: tuple[Any, ...]
    records: list[Record]
    metric: str

    def numbers(self, metric: str) -> list[float]:
        """A metric of the records that have it, in percent."""
        found = (accuracy(record, metric) for record in self.records)
        return [100 * value for value in found if value is not None]

    @property
    def n(self) -> int:
        return len(self.numbers(self.metric))

    @property
    def mean(self) -> float | None:
        """In percent."""
        return statistics.fmean(self.numbers(self.metric)) if self.n else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1); None for fewer than two values."""
        return statistics.stdev(self.numbers(self.metric)) if self.n > 1 else None

    @property
    def best(self) -> float:
        """Mean accuracy of the best epochs, in percent: an oracle, chosen on the test set."""
        return statistics.fmean(self.numbers("test_acc_best"))

    @property
    def realised_rate(self) -> float | None:
        """Mean realised noise rate, in percent; None if unknown."""
        rates = [record["noise"]["realised_rate"] for record in self.records]
        return None if None in rates else 100 * statistics.fmean(rates)


def settings(records: Sequence[Record], metric: str, ranked: bool) -> list[Setting]:
    """The settings of these records, by task and then by their options; if ranked, the best of each task first."""
    options = {record["run_id"]: named_options(record["config"]) for record in records}
    shown = differing(list(options.values()))
    grouped: dict[str, list[Record]] = {}
    for record in records:
        rest = {key: value for key, value in options[record["run_id"]].items() if key not in SEEDS}
        grouped.setdefault(json.dumps(rest, sort_keys=True), []).append(record)
    found = []
    for group in grouped.values():
        values = options[group[0]["run_id"]]
        task = tuple(values.get(key) for key in TASK)
        found.append(Setting({key: values.get(key) for key in shown}, task, group, metric))
    found.sort(key=lambda setting: [_order(value) for value in (*setting.task, *setting.values.values())])
    if ranked:
        found.sort(key=lambda s: ([_order(value) for value in s.task], s.mean is None, -(s.mean or 0.0)))
    return found


def _order(value: Any) -> tuple[bool, float, str]:
    """A key that sorts numbers by value, and before all else."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return not number, value if number else 0.0, "" if number else json.dumps(value)


def best_of_tasks(found: Sequence[Setting]) -> set[int]:
    """The indices of the settings with the best mean of their task, to two digits; none if a task has only one."""
    means = [None if setting.mean is None else round(setting.mean, 2) for setting in found]
    best = set()
    for task in {setting.task for setting in found}:
        rivals = {i: means[i] for i, s in enumerate(found) if s.task == task and means[i] is not None}
        if len(rivals) > 1:
            best |= {i for i, mean in rivals.items() if mean == max(rivals.values(), key=lambda m: m or 0.0)}
    return best


def differing(options: Sequence[dict[str, Any]], always: Sequence[str] = ()) -> list[str]:
    """The options that distinguish these configurations: all of `FIRST` that differ, others only if still needed.

    Args:
        always: options that come before those.
    """

    def distinct(keys: Sequence[str]) -> int:
        return len({json.dumps([one.get(key) for key in keys]) for one in options})

    chosen = [*always, *(key for key in FIRST if key not in always and distinct([key]) > 1)]
    all_keys = dict.fromkeys(key for one in options for key in one)
    for key in all_keys:
        if key not in (*SEEDS, *chosen) and distinct([*chosen, key]) > distinct(chosen):
            chosen.append(key)
    return chosen


def named_options(config: dict[str, Any]) -> dict[str, Any]:
    """A record's configuration as flat options: `loss` is its function's name, `loss.q` one of its parameters.

    Options at their neutral value are left out, as records of earlier versions lack them; 1.0 becomes 1.
    """
    normal = json.loads(identity(config))
    return named({key: normal[key] for key in config if key in normal})
