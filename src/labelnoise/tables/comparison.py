"""A table's records against the published numbers: means, standard deviations, differences and Welch's test."""

import itertools
import math
import statistics
from functools import lru_cache
from typing import NamedTuple

from labelnoise.files.text import plain
from labelnoise.records import store
from labelnoise.tables.published import Published, published_of
from labelnoise.tables.table import Cell, Table

LEVEL = 0.05  # a cell is marked if p is below this; by chance alone, this share of the cells is marked


class Machine(NamedTuple):
    """Where a record was made: the GPU, else the processor, and the precision; `unknown` where it is not recorded."""

    device: str
    precision: str


def machine(record: store.Record) -> Machine:
    """The machine of a record."""
    facts = record["environment"]
    device = facts.get("device", "cpu")
    name = facts.get("processor") if device == "cpu" else device
    return Machine(plain(name or "unknown"), plain(facts.get("precision") or "unknown"))


class Result(NamedTuple):
    """One row and column over its seeds.

    Attributes:
        values: one for each seed with a record, in percent.
        run_ids, machines, seeds: of these records, in the same order.
        labels: the hashes of the labels that they were trained on; None where it is not recorded.
    """

    row: str
    column: str
    values: tuple[float, ...]
    run_ids: tuple[str, ...]
    published: Published | None
    machines: tuple[Machine, ...] = ()
    seeds: tuple[int, ...] = ()
    labels: tuple[str | None, ...] = ()

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1); None for fewer than two values."""
        return _deviation(self.values) if self.n > 1 else None

    @property
    def difference(self) -> float | None:
        """Our mean minus the published mean, in percentage points."""
        return self.mean - self.published.mean if self.published and self.mean is not None else None

    @property
    def distance(self) -> float | None:
        """The difference over sqrt((s1^2 + s2^2) / 2); None where a deviation is missing or both are 0."""
        if self.difference is None or self.std is None or self.published is None or self.published.std is None:
            return None
        scale = math.sqrt((self.std**2 + self.published.std**2) / 2)
        return self.difference / scale if scale > 0 else None

    @property
    def p(self) -> float | None:
        """Welch's two-sided p; None for a single value on either side, or an unknown number of them."""
        if self.mean is None or self.std is None or self.published is None or self.published.std is None:
            return None
        runs = self.published.runs or 1
        return welch(self.mean, self.std, self.n, self.published.mean, self.published.std, runs) if runs > 1 else None

    @property
    def marked(self) -> bool:
        """Whether p is below `LEVEL`."""
        return self.p is not None and self.p < LEVEL


@lru_cache(maxsize=4096)
def _deviation(values: tuple[float, ...]) -> float:
    return statistics.stdev(values)  # exact, so slow; a page asks for each several times


def welch(mean1: float, std1: float, n1: int, mean2: float, std2: float, n2: int) -> float:
    """Welch's two-sided p for two means with unequal variances, n1 and n2 at least 2.

    Source: Welch 1947 (Biometrika 34), The generalization of Student's problem; Satterthwaite's degrees of freedom.
    """
    if std1 == std2 == 0:
        return 1.0 if mean1 == mean2 else 0.0
    from scipy.special import stdtr  # scipy.stats takes half a second more to import

    square1, square2 = std1**2 / n1, std2**2 / n2
    freedom = (square1 + square2) ** 2 / (square1**2 / (n1 - 1) + square2**2 / (n2 - 1))
    return 2 * float(stdtr(freedom, -abs(mean1 - mean2) / math.sqrt(square1 + square2)))


def results(table: Table, cells: list[Cell], found: dict[str, store.Record]) -> list[Result]:
    """One result for every row and column of the table, with or without records."""
    published = published_of(table)
    by_place: dict[tuple[str, str], list[tuple[float, str, Machine, int, str | None]]] = {}
    for cell in cells:
        record = found.get(cell.run_id)
        if record and (value := record["metrics"].get(table.metric)) is not None:
            facts = (100 * value, cell.run_id, machine(record), cell.seed, record["noise"].get("label_hash"))
            by_place.setdefault((cell.row, cell.column), []).append(facts)
    found_results = []
    for row, column in itertools.product(table.rows, table.columns):
        known = by_place.get((row, column), [])
        values, run_ids, *others = zip(*known, strict=True) if known else ((),) * 5
        found_results.append(Result(row, column, values, run_ids, published.get((row, column)), *others))
    return found_results


def ranks(results: list[Result]) -> dict[tuple[str, str], int]:
    """1 for the best of a column, 2 for the second best; means are compared to two digits, and ties share a rank.

    A column with fewer than two means has no ranks.
    """
    ranked: dict[tuple[str, str], int] = {}
    for column in dict.fromkeys(result.column for result in results):
        means = {r.row: round(r.mean, 2) for r in results if r.column == column and r.mean is not None}
        if len(means) > 1:
            for rank, mean in enumerate(sorted(set(means.values()), reverse=True)[:2], start=1):
                ranked |= {(row, column): rank for row, value in means.items() if value == mean}
    return ranked
