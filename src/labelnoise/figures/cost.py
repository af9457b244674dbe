"""What a method's accuracy costs: test accuracy over the time of an epoch."""

import math
import statistics
from typing import TYPE_CHECKING, Any

from labelnoise.config.comments import comment
from labelnoise.config.groups import choices
from labelnoise.figures.runs import Cells
from labelnoise.figures.style import COLOURS, PAGE, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_MOST = 3  # panels side by side
TICKS = (10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92, 94, 96, 97, 98, 99)  # percent
GAP = 0.075  # between names, in units of log2 of the error
NEAR = 0.9  # doublings of the cost between points whose names may touch
ROUNDS = 300


def cost(cells: Cells) -> "Figure":
    """The test accuracy of each row over its method's cost, a panel for each column; the mean of the seeds.

    The cost is that of the `# cost:` line in the method's file, the time of an epoch over that of erm with
    cross-entropy. The scale is logarithmic in the error. A line marks the best accuracy up to each cost.

    Raises:
        ValueError: more columns than fit, or no row with a known cost.
    """
    columns = cells.columns()
    if len(columns) > AT_MOST:
        raise ValueError(
            f"columns={','.join(columns)}: at most {AT_MOST} fit beside each other; choose them with columns=[...]"
        )
    costs = {row: found for row in cells.table.rows if (found := _cost(cells, row)) is not None}
    if not costs:
        raise ValueError(f"table={cells.table.name}: no row is of a method whose file has a line `# cost:`")
    figure, axes = panels(len(columns), PAGE, 5.6)
    for axis, column in zip(axes, columns, strict=True):
        points = {row: (costs[row], _accuracy(cells, row, column)) for row in cells.rows(column) if row in costs}
        _draw(axis, points)
        axis.set(title=column, xlabel="time of an epoch, of erm with ce")
    axes[0].set_ylabel("test accuracy (%)")
    return figure


def _cost(cells: Cells, row: str) -> float | None:
    overrides = cells.table.row(row, next(iter(cells.table.columns)))
    method = next((o.removeprefix("method=") for o in overrides if o.startswith("method=")), "erm")
    known = comment("method", method)[1].get("cost") if method in choices("method") else None
    return None if known is None else float(known)


def _accuracy(cells: Cells, row: str, column: str) -> float:
    return statistics.fmean(100 * r["metrics"][cells.table.metric] for r in cells.records[row, column])


def _height(accuracy: float) -> float:
    """The place of an accuracy in percent: minus log2 of the error."""
    return -math.log2(100.5 - accuracy)


def _draw(axis: Any, points: dict[str, tuple[float, float]]) -> None:
    for row, (time, accuracy) in points.items():
        axis.plot(time, _height(accuracy), "o", markersize=2.2, color=COLOURS[row.startswith("erm")])
    best, front = -math.inf, []
    for time, accuracy in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if accuracy > best:
            front.append((time, _height(accuracy)))
            best = accuracy
    axis.step(*zip(*front, strict=True), where="post", color="#bbbbbb", linewidth=0.7, zorder=0)
    for row, height in _spread({row: (time, _height(accuracy)) for row, (time, accuracy) in points.items()}).items():
        time, own = points[row][0], _height(points[row][1])
        axis.plot([time * 1.02, time * 1.09], [own, height], color="#999999", linewidth=0.3)
        axis.text(time * 1.1, height, row, size=4.6, va="center")
    axis.set_xscale("log", base=2)
    longest = max(time for time, _ in points.values())
    axis.set_xlim(min(time for time, _ in points.values()) * 0.9, longest * 2)
    marks = [mark for mark in (1, 2, 4, 8, 16) if mark <= longest * 1.5]
    axis.set_xticks(marks, labels=[str(mark) for mark in marks], minor=False)
    lowest = min(accuracy for _, accuracy in points.values())
    ticks = [tick for tick in TICKS if tick > lowest - 10]
    axis.set_yticks([_height(tick) for tick in ticks], labels=[str(tick) for tick in ticks])


def _spread(places: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Heights for the names, moved apart where they would touch."""
    heights = {row: height for row, (_, height) in places.items()}
    rows = sorted(places, key=lambda row: (heights[row], row))  # names keep this order
    near = [
        (low, high)
        for place, high in enumerate(rows)
        for low in rows[:place]
        if abs(math.log2(places[low][0] / places[high][0])) < NEAR
    ]
    for _ in range(ROUNDS):
        for low, high in near:
            short = heights[low] + GAP - heights[high]
            if short > 0:
                heights[high] += short / 2
                heights[low] -= short / 2
    return heights
