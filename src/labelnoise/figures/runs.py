"""The records for a figure: the cells of a table, by row and column."""

import sys
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from labelnoise.config.compose import compose
from labelnoise.config.groups import typed
from labelnoise.records.store import Record
from labelnoise.tables import found, table
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
    cfg = compose([o for o in overrides if o.startswith(("results=", "accept_changed="))])
    cells = table.cells(chosen, overrides)
    done = found.find(cells, cfg.results, cfg.accept_changed)
    if done.changed:
        print(f"table={chosen.name}: {done.told()}", file=sys.stderr)
    by_place: dict[tuple[str, str], list[Record]] = {}
    for cell in cells:
        if cell.run_id in done.records:
            by_place.setdefault((cell.row, cell.column), []).append(done.records[cell.run_id])
    if not by_place:
        words = " ".join(typed(list(dict.fromkeys([*choice, *overrides]))))
        raise ValueError(
            f"no records: none of the {len(cells)} runs of this part of table={chosen.name} is in "
            f"results={cfg.results}; python train.py -m {words} makes them"
        )
    return Cells(chosen, by_place)
