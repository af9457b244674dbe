"""The error of methods that abstain, over the share of the images that they predict."""

import statistics
from typing import TYPE_CHECKING

from labelnoise.figures.runs import Cells
from labelnoise.figures.style import COLUMN, line_style, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def risk_coverage(cells: Cells) -> "Figure":
    """The test error over coverage, a line for each row of the table that abstains; the mean of the seeds.

    Raises:
        ValueError: several columns, or no record with such a curve.
    """
    column = cells.column("risk_coverage")
    figure, (axis,) = panels(1, COLUMN, 1.9)
    for place, row in enumerate(cells.table.rows):
        records = cells.records.get((row, column), [])
        curves = [curve for record in records if (curve := record["metrics"].get("risk_coverage"))]
        if curves:
            means = [100 * statistics.fmean(values) for values in zip(*curves, strict=True)]
            shares = [100 * (k + 1) / len(means) for k in range(len(means))]
            axis.plot(shares, means, label=row, **line_style(place))
    if not axis.lines:
        raise ValueError(f"column={column}: no record is of a method that abstains, such as method=kd_gambler")
    axis.set(title=column, xlabel="coverage (%)", ylabel="test error (%)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
