"""The rows of a table against each other: a t-test between one row and every other, in each column."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from labelnoise.tables.comparison import LEVEL, Result, welch

BEST = "best"  # in place of a row: the one with the highest mean of each column
HOLM = "holm"


class Test(NamedTuple):
    """A cell against the cell of another row in its column.

    Attributes:
        against: the other row.
        paired: over seeds, or else Welch's.
        p: two-sided; corrected if that was asked for.
    """

    against: str
    paired: bool
    p: float

    @property
    def name(self) -> str:
        return "paired t-test" if self.paired else "Welch's t-test"

    @property
    def marked(self) -> bool:
        """Whether p is below `LEVEL`."""
        return self.p < LEVEL


Tests = dict[tuple[str, str], Test]  # by row and column


def tests_against(results: Sequence[Result], row: str, corrected: bool) -> Tests:
    """A test of every cell against the one of `row` in its column; cells with fewer than two values have none.

    Args:
        row: BEST, or a row.
        corrected: by Holm's method, over the tests of a column.
    """
    found: Tests = {}
    for column in dict.fromkeys(result.column for result in results):
        cells = [result for result in results if result.column == column and result.mean is not None]
        reference = max(cells, key=lambda cell: cell.mean or 0.0, default=None)
        if row != BEST:
            reference = next((cell for cell in cells if cell.row == row), None)
        if reference is None or reference.n < 2:
            continue
        others = [cell for cell in cells if cell is not reference and cell.n > 1]
        of_column = [_test(cell, reference) for cell in others]
        p = holm([test.p for test in of_column]) if corrected else [test.p for test in of_column]
        for cell, test, one in zip(others, of_column, p, strict=True):
            found[cell.row, column] = test._replace(p=one)
    return found


def _test(cell: Result, reference: Result) -> Test:
    """Paired if both have the same seeds and, seed by seed, the same labels; otherwise Welch's."""
    if None not in cell.labels and (cell.seeds, cell.labels) == (reference.seeds, reference.labels):
        return Test(reference.row, True, paired(cell.values, reference.values))
    one, other = ((result.mean or 0.0, result.std or 0.0, result.n) for result in (cell, reference))
    return Test(reference.row, False, welch(*one, *other))


def paired(values: Sequence[float], others: Sequence[float]) -> float:
    """Two-sided p of the paired t-test, for at least two pairs.

    Source: Student 1908 (Biometrika 6), The probable error of a mean.
    """
    differences = [round(one - other, 9) for one, other in zip(values, others, strict=True)]  # 0.3 - 0.2 == 0.2 - 0.1
    if len(set(differences)) == 1:
        return 1.0 if differences[0] == 0 else 0.0
    from scipy.stats import ttest_1samp  # takes a second to import; most tables do not need it

    return float(ttest_1samp(differences, 0.0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of several tests; those below a level are rejected, and the chance of one wrong rejection is below it.

    Source: Holm 1979 (Scandinavian Journal of Statistics 6), A simple sequentially rejective multiple test procedure.
    """
    adjusted, largest = [math.nan] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def legend(tests: Tests, row: str, corrected: bool) -> str:
    """What the mark means, and how many cells have it."""
    if not tests:
        return "‡ No cell can be tested: that takes two rows with two seeds each."
    other = "the best of its column" if row == BEST else f"{row} in its column"
    pairs = sum(test.paired for test in tests.values())
    kinds = [f"paired t-test over seeds ({pairs})"] if pairs else []
    kinds += [f"Welch's t-test ({len(tests) - pairs})"] if pairs < len(tests) else []
    count = f"{sum(test.marked for test in tests.values())} of {len(tests)} cells that can be tested"
    holms = ", with Holm's correction over the tests of a column" if corrected else ""
    text = f"‡ Two-sided p < {LEVEL} against {other} ({count}): {' or '.join(kinds)}{holms}."
    chosen = " The same results chose the best: such a p is smaller than against a row named beforehand."
    return text + (chosen if row == BEST else "")
