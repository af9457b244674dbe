"""Print the BibTeX of what a run or a table uses (data set, noise, losses, methods ...) and of this package.

labelnoise cite loss=agce dataset=cifar10 noise=sym rate=0.4
labelnoise cite table=cifar10_zhou2021 > references.bib      # table.rows=[ce,agce] for some of its rows

The keys are those of the line `# cite: KEY, KEY` in each option's file; the entries are in configs/references.bib, and
in the references.bib of a folder of your own (--config-dir). An option whose file has no such line is named on
standard error.
"""

import sys
from collections.abc import Iterator

from labelnoise.config import citations
from labelnoise.config.compose import chosen_options
from labelnoise.tables import table


def cite(arguments: list[str]) -> None:
    """Print the entries, each once.

    Args:
        arguments: train's options, or those that select a table.
    Raises:
        ValueError: an option is wrong.
    """
    used = {(group, chosen[group]) for chosen in _choices(arguments) for group in citations.GROUPS}
    ordered = sorted(used, key=lambda one: (citations.GROUPS.index(one[0]), one[1]))
    entries, missing = citations.of_options(ordered, arguments)
    for line in missing:
        print(line, file=sys.stderr)
    print("\n\n".join([*entries, citations.entries()[citations.PACKAGE]]))


def _choices(arguments: list[str]) -> Iterator[dict[str, str]]:
    """The option of each group, in the run or in the table's cells: each row in one column, each column in one row."""
    choice, overrides = table.split_arguments(arguments)
    if not any(override.startswith("table=") for override in choice):
        yield chosen_options(arguments)
        return
    read = table.read(choice)
    (row, *_), (column, *_) = read.rows, read.columns
    for place in dict.fromkeys([*((one, column) for one in read.rows), *((row, one) for one in read.columns)]):
        yield chosen_options([*read.common, *read.row(*place), *read.columns[place[1]], *overrides])
