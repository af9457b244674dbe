"""Accuracy over one hyper-parameter, any option with numbers: a line for each setting of the others."""

import json
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labelnoise.figures.style import COLOURS, COLUMN, line_style, panels
from labelnoise.records.store import Record
from labelnoise.tables.settings import FIRST, SEEDS, accuracy, differing, named_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOGARITHMIC = 100  # from this ratio of the largest to the smallest value, the axis is logarithmic
LABELS = {"val_acc": "accuracy on held-out images (%)", "test_acc_best": "test accuracy, best epoch: an oracle (%)"}


class Line(NamedTuple):
    """Attributes: label; points, accuracies in percent by value; changing, other options that differ along the line."""

    label: str
    points: dict[float, list[float]]
    changing: list[str]


def chosen(found: Sequence[Record], options: dict[str, str]) -> list[Record]:
    """The records with these options, as `labelnoise summary` names them.

    Raises:
        ValueError: no record has one of them.
    """
    kept = list(found)
    for name, text in options.items():
        try:
            wanted = json.loads(text)
        except ValueError:
            wanted = text
        kept = [record for record in kept if named_options(record["config"]).get(name) == wanted]
        if not kept:
            raise ValueError(f"{name}={text}: no such records, of {len(found)}")
    return kept


def lines_over(found: Sequence[Record], option: str, metric: str) -> list[Line]:
    """The lines of the figure: records that have the option and the metric, by the options that tell them apart.

    Raises:
        ValueError: no record has both, or the option has one value in all lines.
    """
    known = [
        (options, 100 * value)
        for record in found
        if _is_number((options := named_options(record["config"])).get(option)) and option not in SEEDS
        if (value := accuracy(record, metric)) is not None
    ]
    if not known:
        raise ValueError(f"over={option}: no record has this option, with a number, and {metric}; {_differing(found)}")
    apart = [key for key in differing([options for options, _ in known], [option]) if key != option]
    grouped: dict[str, list[tuple[dict[str, Any], float]]] = {}
    for options, value in known:
        grouped.setdefault(json.dumps([options.get(key) for key in apart]), []).append((options, value))
    lines = [_line(option, apart, group) for group in grouped.values()]
    if all(len(line.points) < 2 for line in lines):
        raise ValueError(f"over={option}: has only one value where all else is the same; {_differing(found)}")
    return sorted((line for line in lines if len(line.points) > 1), key=lambda line: line.label)


def _line(option: str, apart: Sequence[str], group: list[tuple[dict[str, Any], float]]) -> Line:
    points: dict[float, list[float]] = {}
    for options, value in group:
        points.setdefault(options[option], []).append(value)
    first = group[0][0]
    keys = {key for options, _ in group for key in options} - {option, *SEEDS}
    changing = [key for key in sorted(keys) if any(options.get(key) != first.get(key) for options, _ in group)]
    return Line(_described(first, apart), dict(sorted(points.items())), changing)


def _described(options: dict[str, Any], keys: Sequence[str]) -> str:
    """`gce, symmetric, noise.rate=0.4`: the name of a component stands for itself."""
    shown = [key for key in keys if options.get(key) is not None]
    return ", ".join(str(options[key]) if key in FIRST and "." not in key else f"{key}={options[key]}" for key in shown)


def _differing(found: Sequence[Record]) -> str:
    """Which options a figure could be drawn over."""
    options = [named_options(record["config"]) for record in found]
    names = dict.fromkeys(key for one in options for key, value in one.items() if _is_number(value))
    varied = [key for key in names if key not in SEEDS and len({json.dumps(one.get(key)) for one in options}) > 1]
    return f"numbers that differ in these {len(found)} records: {', '.join(varied) or 'none'}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def over_one(lines: Sequence[Line], option: str, metric: str) -> "Figure":
    """Mean accuracy over the option's values; the bars are the standard deviation over seeds, where there are several.

    Raises:
        ValueError: more lines than can be told apart.
    """
    if len(lines) > len(COLOURS):
        labels = "; ".join(line.label for line in lines[: len(COLOURS)])
        raise ValueError(
            f"over={option}: {len(lines)} lines, at most {len(COLOURS)} can be told apart; choose some by their "
            f"options, such as loss=NAME, or by table.rows=[...]: {labels}; ..."
        )
    figure, (axis,) = panels(1, COLUMN, 1.9)
    for index, line in enumerate(lines):
        means = [statistics.fmean(values) for values in line.points.values()]
        bars = [statistics.stdev(v) if len(v) > 1 else float("nan") for v in line.points.values()]
        style = {"capsize": 2, "marker": "o", "markersize": 2.5, **line_style(index)}
        axis.errorbar(list(line.points), means, yerr=bars, label=line.label, **style)
    axis.set(xlabel=option, ylabel=LABELS.get(metric, "test accuracy (%)"))
    values = [value for line in lines for value in line.points]
    if min(values) > 0 and max(values) >= LOGARITHMIC * min(values):
        axis.set_xscale("log")
    if len(lines) > 1:
        figure.legend(loc="outside lower center", ncols=2)
    return figure
