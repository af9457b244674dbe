"""Results as tables: from the committed records alone, so that they do not depend on a folder of runs."""

import re
from functools import cache
from itertools import product
from typing import NamedTuple

from labelnoise.docs.options import markdown
from labelnoise.records import store
from labelnoise.tables import comparison
from labelnoise.tables.comparison import Result
from labelnoise.tables.render import render
from labelnoise.tables.sheet import apart, theirs
from labelnoise.tables.significance import HOLM
from labelnoise.tables.table import Table, cells, read

NONE = "–"
KINDS = {"sym": "symmetric", "asym": "asymmetric"}


class Chosen(NamedTuple):
    """Part of a table: results, by row and column; records, by row and column, one for each seed that has one."""

    table: Table
    results: dict[tuple[str, str], Result]
    records: dict[tuple[str, str], list[store.Record]]


@cache
def chosen(name: str, rows: str = "", columns: str = "", seeds: str = "") -> Chosen:
    """The part of a table that these lists choose, such as `ce,agce`; all of it without them."""
    given = {"rows": rows, "columns": columns, "seeds": seeds}
    table = read([f"table={name}", *(f"table.{key}=[{value}]" for key, value in given.items() if value)])
    wanted = cells(table)
    found = {cell.run_id: record for cell in wanted if (record := store.committed(cell.run_id))}
    results = {(result.row, result.column): result for result in comparison.results(table, wanted, found)}
    records = {place: [found[run_id] for run_id in result.run_ids] for place, result in results.items()}
    return Chosen(table, results, records)


def table(name: str, test: str = "", correction: str = "", **choice: str) -> str:
    """What `labelnoise table` prints of the part that the lists choose, but for the notes and the commands."""
    part = chosen(name, **choice)
    found = {record["run_id"]: record for records in part.records.values() for record in records}
    plain = part.table._replace(notes=[])
    lines = render(plain, cells(plain), found, "markdown", [], test or None, correction == HOLM).splitlines()
    return "\n".join(line for line in lines if not line.startswith("- Command: "))


def noise(column: str) -> str:
    """A column's noise in words: 40% symmetric."""
    found = re.fullmatch(r"(sym|asym)_([\d.]+)", column)
    return f"{float(found[2]):.0%} {KINDS[found[1]]}" if found else column


def cells_with_ids(table: str, **choice: str) -> str:
    """A line for every row and column that has records, beside the published numbers, with their ids."""
    part = chosen(table, **choice)
    lines = []
    for column, row in product(part.table.columns, part.table.rows):
        result, records = part.results[row, column], part.records[row, column]
        if records:
            values = [f"{value:.2f}" for value in result.values]
            best = [f"{100 * record['metrics']['test_acc_best']:.2f}" for record in records]
            difference = apart(result).partition(" (")[0]
            of_seeds = [" and ".join(each) for each in (values, best, map(_memorised, records))]
            ids = ", ".join(f"`{run_id}`" for run_id in result.run_ids)
            beside = [theirs(result) or NONE, difference or NONE]
            lines.append([f"`{row}`, {noise(column)}", of_seeds[0], *beside, *of_seeds[1:], ids])
    heads = ["last epoch", "published", "difference", "best (oracle)", "wrong labels memorised", "records"]
    return markdown([f"{part.table.heading}, noise", *heads], *lines)


def memorised(table: str, **choice: str) -> str:
    """The accuracy after the last epoch and, in brackets, the share of wrong labels memorised; of the first seed."""
    part = chosen(table, **choice)

    def cell(records: list[store.Record]) -> str:
        return f"{100 * records[0]['metrics']['test_acc_last']:.2f} ({_memorised(records[0])})" if records else NONE

    rows, columns = part.table.rows, part.table.columns
    lines = [[f"`{row}`", *(cell(part.records[row, column]) for column in columns)] for row in rows]
    return markdown([part.table.heading, *map(noise, columns)], *lines)


def _memorised(record: store.Record) -> str:
    column = record["history"].get("acc_wrong_given")
    return NONE if not column or column[-1] is None else f"{100 * column[-1]:.1f}%"


def means(table: str, **choice: str) -> str:
    """Mean ± standard deviation over the seeds, with one digit."""
    part = chosen(table, **choice)
    rows, columns = part.table.rows, part.table.columns
    lines = [[f"`{row}`", *(_mean(part.results[row, column], spread=True) for column in columns)] for row in rows]
    return markdown([part.table.heading, *columns], *lines)


def mean_of(table: str, row: str, column: str) -> str:
    """The mean of one row and column of a table, with one digit; a dash where there is none."""
    result = chosen(table).results.get((row, column))
    return NONE if result is None else _mean(result)


def _mean(result: Result, spread: bool = False) -> str:
    if result.mean is None:
        return NONE
    return f"{result.mean:.1f}" + (f" ± {result.std:.1f}" if spread and result.std is not None else "")
