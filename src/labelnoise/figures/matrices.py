"""Figures by class: the confusion matrix, and the share of each class's labels that is right."""

from typing import TYPE_CHECKING, Any

from labelnoise.figures.runs import Cells
from labelnoise.figures.style import COLUMN, PAGE, line_style, panels
from labelnoise.records.store import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_MOST = 4  # matrices side by side
NUMBERS = 12  # a matrix with more classes has no numbers written in it


def confusion(cells: Cells) -> "Figure":
    """The test set's confusion matrix after the last epoch, one for each row of the table; shares of the true class.

    The seeds of a cell are summed.
    Raises:
        ValueError: several columns, more rows than fit, or no record with a confusion matrix.
    """
    column = cells.column("confusion")
    rows = cells.rows(column)
    if len(rows) > AT_MOST:
        raise ValueError(f"rows={','.join(rows)}: at most {AT_MOST} fit beside each other; choose them with rows=[...]")
    matrices = {row: matrix for row in rows if (matrix := _summed(cells.records[row, column]))}
    if not matrices:
        raise ValueError(f"column={column}: no record has a confusion matrix")
    side = COLUMN if len(matrices) == 1 else PAGE / len(matrices)
    figure, axes = panels(len(matrices), side * len(matrices), side if len(matrices) > 1 else 2.9)
    for axis, (row, matrix) in zip(axes, matrices.items(), strict=True):
        shares = [[count / max(sum(line), 1) for count in line] for line in matrix]
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set(title=f"{row}, {column}", xlabel="predicted class")
        if len(matrix) <= NUMBERS:
            axis.set(xticks=range(len(matrix)), yticks=range(len(matrix)))
            _write(axis, shares, size=5 if len(matrices) < 3 else 3.5)
    axes[0].set_ylabel("true class")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    return figure


def label_precision(cells: Cells) -> "Figure":
    """The share of each class's training labels that is right, a line for each column of the table.

    The labels are the given ones, from the realised noise of the first seed. A method that selects images records the
    label precision of its selection over all classes; that of the last epoch is drawn as a horizontal line.
    Raises:
        ValueError: no record with known noise.
    """
    figure, (axis,) = panels(1, COLUMN, 1.9)
    drawn = 0
    for column in cells.columns():
        rows = cells.rows(column)
        matrix = next((m for row in rows if (m := cells.records[row, column][0]["noise"].get("transition"))), None)
        if matrix is None:
            continue
        style = line_style(drawn)
        axis.plot(range(len(matrix)), [100 * share for share in of_columns(matrix)], "o-", markersize=2.5, label=column)
        axis.lines[-1].set(**style)
        for row in rows:
            selected = (cells.records[row, column][0]["history"].get("label_precision") or [None])[-1]
            if selected is not None:
                axis.axhline(100 * selected, linewidth=0.8, alpha=0.6, label=f"{row}, {column}: selected", **style)
        drawn += 1
    if not drawn:
        raise ValueError(f"table={cells.table.name}: the noise of these records is unknown")
    axis.set(xlabel="class of the label", ylabel="correct labels (%)", ylim=(0, 102))
    if len(matrix or ()) <= NUMBERS:
        axis.set_xticks(range(len(matrix or ())))
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def of_columns(transition: list[list[int]]) -> list[float]:
    """The share of each label that is right, from counts (C, C) with rows the true class; 1 for an unused label."""
    totals = [sum(column) for column in zip(*transition, strict=True)]
    return [transition[c][c] / total if total else 1.0 for c, total in enumerate(totals)]


def _summed(seeds: list[Record]) -> list[list[int]]:
    matrices = [matrix for record in seeds if (matrix := record["metrics"].get("confusion"))]
    return [[sum(counts) for counts in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def _write(axis: Any, shares: list[list[float]], size: float) -> None:
    for i, line in enumerate(shares):
        for j, share in enumerate(line):
            if share >= 0.005:
                text = f"{share:.2f}".removeprefix("0")
                axis.text(j, i, text, ha="center", va="center", size=size, color="white" if share > 0.5 else "black")
