"""Lines over epochs: test accuracy by loss and noise rate, and test accuracy next to memorisation."""

import math
import statistics
from typing import TYPE_CHECKING, Any

from labelnoise.figures.runs import Cells
from labelnoise.figures.style import COLUMN, PAGE, line_style, panels
from labelnoise.records.store import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_MOST = 5  # panels side by side


def accuracy(cells: Cells) -> "Figure":
    """Test accuracy over epochs: a panel for each column of the table, a line for each row.

    The line is the mean of the seeds, the band their standard deviation.
    Raises:
        ValueError: more columns than fit side by side.
    """
    columns = cells.columns()
    if len(columns) > AT_MOST:
        raise ValueError(
            f"columns={','.join(columns)}: at most {AT_MOST} fit beside each other; choose them with columns=[...]"
        )
    width = COLUMN if len(columns) == 1 else PAGE
    figure, axes = panels(len(columns), width, 1.9)
    order = list(cells.table.rows)  # a row has the same colour in every panel
    for axis, column in zip(axes, columns, strict=True):
        for row in cells.rows(column):
            _band(axis, cells.records[row, column], "test_acc", row, order.index(row))
        axis.set(title=column, xlabel="epoch")
    axes[0].set_ylabel("test accuracy (%)")
    _legend(figure, axes)
    return figure


def memorisation(cells: Cells) -> "Figure":
    """Two panels over epochs: test accuracy, and the share of wrongly labelled training images that are memorised.

    Raises:
        ValueError: the cells have several columns, or no record with known wrong labels.
    """
    column = cells.column("memorisation")
    rows = cells.rows(column)
    if not any(_column(record, "acc_wrong_given") for row in rows for record in cells.records[row, column]):
        raise ValueError(f"column={column}: no wrong labels are known in these records")
    figure, (left, right) = panels(2, COLUMN, 1.75, share_y=False)
    for index, row in enumerate(rows):
        _band(left, cells.records[row, column], "test_acc", row, index)
        _band(right, cells.records[row, column], "acc_wrong_given", row, index)
    left.set(title="test accuracy (%)", xlabel="epoch")
    right.set(title="memorised (%)", xlabel="epoch", ylim=(0, 100))
    _legend(figure, [left, right])
    return figure


def mean_and_deviation(columns: list[list[float | None]]) -> tuple[list[int], list[float], list[float]]:
    """Epochs, from 1, for which every seed has a value; their means and standard deviations in percent."""
    epochs, means, deviations = [], [], []
    for epoch, values in enumerate(zip(*columns, strict=False), start=1):
        known = [100 * value for value in values if value is not None]
        if len(known) == len(columns):
            epochs.append(epoch)
            means.append(statistics.fmean(known))
            deviations.append(statistics.stdev(known) if len(known) > 1 else 0.0)
    return epochs, means, deviations


def _column(record: Record, name: str) -> list[float | None]:
    column = record["history"].get(name) or []
    return column if any(value is not None and math.isfinite(value) for value in column) else []


def _band(axis: Any, seeds: list[Record], name: str, label: str, index: int) -> None:
    """One row's line and band; nothing if no seed has the curve."""
    columns = [column for record in seeds if (column := _column(record, name))]
    if not columns:
        return
    epochs, means, deviations = mean_and_deviation(columns)
    style = line_style(index)
    axis.plot(epochs, means, label=label, **style)
    low, high = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
    axis.fill_between(epochs, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _legend(figure: "Figure", axes: list[Any]) -> None:
    """One legend for all panels, below them."""
    lines = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    per_row = 6 if figure.get_figwidth() > COLUMN else 3
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=min(len(lines), per_row))
