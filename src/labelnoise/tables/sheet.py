"""What a table prints in every format: its numbers as text, and the lines beneath them."""

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from labelnoise.files.text import plain
from labelnoise.records.store import Record
from labelnoise.tables.comparison import LEVEL, Machine, Result, machine, ranks
from labelnoise.tables.published import source_of
from labelnoise.tables.significance import Tests
from labelnoise.tables.table import Table

CERTAINTY = {"quoted": "quoted by a later text", "memory": "from memory, not checked"}  # "read" needs no word


class Sheet(NamedTuple):
    """What is rendered: a table, its results in the order of rows and columns, and the lines beneath it.

    Attributes:
        legend: those of the lines that say what marks and other numbers mean.
        tests: of rows against each other; None if not asked for.
    """

    table: Table
    results: list[Result]
    beneath: list[str]
    legend: Sequence[str] = ()
    tests: Tests | None = None

    def row(self, label: str) -> list[Result]:
        """A row's results by column."""
        return [result for result in self.results if result.row == label]

    def marks(self, result: Result) -> str:
        """†, against the published value, and ‡, against another row."""
        test = (self.tests or {}).get((result.row, result.column))
        return ("†" if result.marked else "") + ("‡" if test and test.marked else "")


def beneath(
    table: Table, results: list[Result], found: list[Record], commands: list[str], legend: Sequence[str] | None = None
) -> list[str]:
    """The lines under a table: what the numbers mean, how many are done, and where they come from.

    Args:
        legend: default: `legend_of`.
    """
    done, wanted = sum(result.n for result in results), len(results) * len(table.seeds)
    what = "Test accuracy in percent, mean ± standard deviation (number of seeds)."
    lines = [f"{what} {done} of {wanted} trainings are done."]
    lines += legend_of(table, results) if legend is None else legend
    lines += table.notes
    if found:
        lines.append(f"Commits: {counted(found, 'commit')}. Machines: {counted(found, 'machine')}.")
    if mixed := _mixed(results):
        lines.append(f"Rows whose records come from several processors or precisions: {mixed}.")
    return [*lines, *(f"Command: {command}" for command in commands)]


def legend_of(table: Table, results: list[Result]) -> list[str]:
    """What the published numbers, the difference, the mark and the bold numbers mean."""
    lines = []
    if numbers := [result.published for result in results if result.published]:
        count = sum(result.marked for result in results)
        lines += [
            f"Beneath ours: {source_of(table, numbers)}.{_certainty(results)}",
            "Then the difference in percentage points; in brackets, divided by sqrt((s1² + s2²) / 2).",
            f"† Welch's two-sided p < {LEVEL} against the published value ({count} of "
            f"{sum(result.p is not None for result in results)} cells that can be tested); by chance alone, "
            f"{LEVEL:.0%} of the cells would be marked.",
        ]
    if ranks(results):
        lines.append("Bold: the best of a column; underlined: the second best.")
    return lines


def _mixed(results: list[Result]) -> str:
    """The rows that several kinds of machine computed, with the number of records of each; rows alike together."""
    rows: dict[str, list[Machine]] = {}
    for result in results:
        rows.setdefault(result.row, []).extend(result.machines)
    alike: dict[str, list[str]] = {}
    for row, machines in rows.items():
        differ = [len(set(values)) > 1 for values in zip(*machines, strict=True)]
        if any(differ):
            shown = Counter(" ".join(compress(one, differ)) for one in machines)
            counts = ", ".join(f"{name}: {count}" for name, count in shown.most_common())
            alike.setdefault(counts, []).append(row)
    return "; ".join(f"{', '.join(labels)} ({counts})" for counts, labels in alike.items())


def _certainty(results: list[Result]) -> str:
    """Which published numbers were not read in their source; empty if all were."""
    numbers = [(result, result.published.certainty) for result in results if result.published]
    parts = []
    for certainty, meaning in CERTAINTY.items():
        cells = [f"{result.row} {result.column}" for result, given in numbers if given == certainty]
        if cells:
            parts.append(f"{'all' if len(cells) == len(numbers) else ', '.join(cells)} {meaning}")
    return f" Certainty: {'; '.join(parts)}." if parts else ""


def counted(found: Sequence[Record], what: str) -> str:
    """Commits or machines with the number of records from each, the most frequent first."""

    def fact(record: Record) -> str:
        facts = record["environment"]
        if what == "commit":
            return plain(facts.get("commit") or "unknown")[:7] + (" with changes" if facts.get("dirty") else "")
        device, precision = machine(record)
        return f"{device} ({precision}, torch {plain(str(facts.get('versions', {}).get('torch')))})"

    return ", ".join(f"{name}: {count}" for name, count in Counter(map(fact, found)).most_common())


def ours(result: Result) -> str:
    """75.12 ± 0.30 (3); without a standard deviation for one seed."""
    return "missing" if result.mean is None else f"{without_count(result)} ({result.n})"


def without_count(result: Result) -> str:
    """75.12 ± 0.30; without a standard deviation for one seed."""
    return f"{result.mean:.2f}" + ("" if result.std is None else f" ± {result.std:.2f}")


def theirs(result: Result) -> str:
    """75.47 ± 0.27, or nothing."""
    if result.published is None:
        return ""
    return f"{result.published.mean:.2f}" + ("" if result.published.std is None else f" ± {result.published.std:.2f}")


def theirs_in_full(result: Result) -> str:
    """75.47 ± 0.27 (3 runs), and how sure it is unless it was read in its source; or nothing."""
    if result.published is None:
        return ""
    runs = "" if result.published.runs is None else f" ({result.published.runs} runs)"
    return ", ".join(filter(None, [theirs(result) + runs, CERTAINTY.get(result.published.certainty, "")]))


def apart(result: Result) -> str:
    """−0.35 (−1.2), or nothing."""
    if result.difference is None:
        return ""
    text = f"{result.difference:+.2f}" + ("" if result.distance is None else f" ({result.distance:+.1f})")
    return text.replace("-", "−")
