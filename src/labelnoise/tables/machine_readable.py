"""A table as CSV and JSON: one entry for every row and column, with the same values in both."""

import json
from typing import Any

from labelnoise.files.csv_text import csv_text
from labelnoise.tables.comparison import Result
from labelnoise.tables.escaping import csv_cell
from labelnoise.tables.sheet import Sheet

PUBLISHED = ("mean", "std", "runs", "certainty")


def _entries(sheet: Sheet) -> list[dict[str, Any]]:
    """The values of every row and column, with those of its test against another row if the sheet has tests."""
    entries = [_entry(result) for result in sheet.results]
    if sheet.tests is not None:
        for entry in entries:
            test = sheet.tests.get((entry["row"], entry["column"]))
            p = None if test is None else _rounded(test.p)
            entry |= {"against": test and test.against, "against_test": test and test.name, "against_p": p}
    return entries


def _entry(result: Result) -> dict[str, Any]:
    """A row and column's values, None if missing; percent and percentage points, `distance` in standard deviations.

    `machines` has the processor or GPU and the precision of each of `run_ids`.
    """
    return {
        "row": result.row,
        "column": result.column,
        "mean": _rounded(result.mean),
        "std": _rounded(result.std),
        "n": result.n,
        **{f"published_{key}": getattr(result.published, key, None) for key in PUBLISHED},
        **{key: _rounded(getattr(result, key)) for key in ("difference", "distance", "p")},
        "run_ids": list(result.run_ids),
        "machines": [" ".join(where) for where in result.machines],
    }


def _rounded(value: float | None) -> float | None:
    return value if value is None else round(value, 6)


def as_csv(sheet: Sheet) -> str:
    """A line for every row and column; empty where there is no value."""
    lines = [
        {
            **entry,
            "run_ids": " ".join(entry["run_ids"]),
            "machines": csv_cell("; ".join(entry["machines"])),
            **{key: csv_cell(entry[key]) for key in ("row", "column", "against") if entry.get(key)},
        }
        for entry in _entries(sheet)
    ]
    return csv_of(lines)


def csv_of(lines: list[dict[str, Any]]) -> str:
    """CSV with the keys of the lines as its header; all have the same, in the same order."""
    return csv_text([lines[0], *(line.values() for line in lines)])


def as_json(sheet: Sheet) -> str:
    """A list of the entries, null where there is no value."""
    return json.dumps(_entries(sheet), indent=1) + "\n"
