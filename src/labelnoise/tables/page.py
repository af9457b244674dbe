"""A table as a self-contained HTML page; jinja2 escapes every value."""

from typing import Any

from labelnoise.files import html
from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.sheet import Sheet, apart, ours, theirs


def render(sheet: Sheet) -> str:
    """The whole page, from page.html.jinja."""
    ranked, table = ranks(sheet.results), sheet.table

    def cell(result: Result) -> dict[str, Any]:
        number, _, rest = ours(result).partition(" ")
        return {
            "number": None if result.mean is None else number,
            "rank": ranked.get((result.row, result.column)),
            "rest": f"{rest} {sheet.marks(result)}".strip(),
            "beneath": [line for line in (theirs(result), apart(result)) if line],
        }

    return html.render(
        "labelnoise.tables",
        ".",
        "page.html.jinja",
        title=table.title,
        heading=table.heading,
        columns=list(map(table.named, table.columns)),
        rows=[(table.named(row), list(map(cell, sheet.row(row)))) for row in table.rows],
        beneath=sheet.beneath,
    )
