"""The records for a figure: the cells of a table, by row and column."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from labelnoise.config.compose import compose
from labelnoise.records import store
from labelnoise.records.store import Record
from labelnoise.tables import table
from labelnoise.tables.table import Table


class Cells(NamedTuple):
    """Attributes: table, as selected; records, by row and column, one for each seed that has one."""

    table: Table
    records: dict[tuple[str, str], list[Record]]

    def rows(self, column: str) -> list[str]:
        """The rows that have a record in this column, in the table's order."""
        return [row for row in self.table.rows if (row, column) in self.records]

    def columns(self) -> list[str]:
        """The columns that have a record."""
        return [column for column in self.table.columns if self.rows(column)]

    def column(self, figure: str) -> str:
        """The only column that has a record.

        Raises:
            ValueError: there are several; names the figure.
        """
        column, *others = self.columns()
        if others:
            raise ValueError(
                f"columns={','.join([column, *others])}: {figure} is drawn for one, such as column={column}"
            )
        return column

    def missing(self) -> list[str]:
        """The cells that have no record, as `row in column`."""
        places = product(self.table.columns, self.table.rows)
        return [f"{row} in {column}" for column, row in places if (row, column) not in self.records]


def read(choice: Sequence[str], overrides: Sequence[str]) -> Cells:
    """The records of part of a table, from the folder in `results=` and from the committed ones.

    Args:
        choice: `table=`, and `table.rows=`, `table.columns=`, `table.seeds=` to select part of it.
        overrides: for every cell.
    Raises:
        ValueError: no such table, row or column, or no cell has a record.
    """
    chosen = table.read(list(choice))
    results = str(compose([o for o in overrides if o.startswith("results=")]).results)
    found: dict[tuple[str, str], list[Record]] = {}
    cells = table.cells(chosen, overrides)
    for cell in cells:
        if record := store.find(cell.run_id, results):
            found.setdefault((cell.row, cell.column), []).append(record)
    if not found:
        words = " ".join([*choice, *overrides])
        raise ValueError(
            f"no records: none of the {len(cells)} runs of this part of table={chosen.name} is in results={results}; "
            f"python train.py -m {words} makes them"
        )
    return Cells(chosen, found)
