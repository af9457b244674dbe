"""A table as a self-contained HTML page; jinja2 escapes every value."""

from typing import Any

from labelnoise.files import html
from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.sheet import Sheet, apart, ours, theirs


def render(sheet: Sheet) -> str:
    """The whole page, from page.html.jinja."""
    ranked = ranks(sheet.results)
    return html.render(
        "labelnoise.tables",
        ".",
        "page.html.jinja",
        title=sheet.table.title,
        heading=sheet.table.heading,
        columns=list(sheet.table.columns),
        rows=[(row, [_cell(r, ranked.get((r.row, r.column))) for r in sheet.row(row)]) for row in sheet.table.rows],
        beneath=sheet.beneath,
    )


def _cell(result: Result, rank: int | None) -> dict[str, Any]:
    number, _, rest = ours(result).partition(" ")
    return {
        "number": None if result.mean is None else number,
        "rank": rank,
        "rest": rest + (" †" if result.marked else ""),
        "beneath": [line for line in (theirs(result), apart(result)) if line],
    }
