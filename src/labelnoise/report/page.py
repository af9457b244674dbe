"""One self-contained HTML page: tables with published numbers, curves, noise, configurations, from records."""

from functools import cache
from typing import Any

from labelnoise.files.html import asset, render_with_script
from labelnoise.report import loss_curves
from labelnoise.report.collect import Collection
from labelnoise.report.pack import content, packed
from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.sheet import Sheet, apart, theirs

SCRIPTS = ("dom", "charts", "tables", "panel", "run", "runs", "losses", "main")  # assets/<name>.js, in this order
STEPS = (0.5, 2.0, 5.0)  # points from the published mean at which a cell's colour gets stronger
BELOW = (1.0, 3.0, 6.0, 12.0, 25.0)  # the same below the best of a column, for tables without published numbers


@cache
def charting_library() -> str:
    """Vega-Lite, Vega and Vega-Embed as one script, from the package vl-convert-python.

    Raises:
        ValueError: the package is not installed.
    """
    try:
        from vl_convert import javascript_bundle
    except ImportError:
        raise ValueError("the report needs vl-convert-python: pip install 'labelnoise[report]'") from None
    return javascript_bundle("window.vegaEmbed = vegaEmbed;")


def render(collection: Collection, library: str) -> str:
    """The page.

    Args:
        library: a script that sets window.vegaEmbed.
    """
    files = [asset("labelnoise.report", f"{name}.js") for name in SCRIPTS]
    data = content(collection) | {"losses": loss_curves.losses()}
    return render_with_script(
        "labelnoise.report",
        "(async () => {\n" + "\n".join(files) + "\n})();\n",
        sheets=list(map(_shown, collection.sheets)),
        runs=len(collection.records),
        data=packed(data),
        library=packed(library),
        steps=STEPS,
        below=BELOW,
    )


def _shown(sheet: Sheet) -> dict[str, Any]:
    """A table's data for the template: its lines, its cells by row, how many training runs are done."""
    ranked = ranks(sheet.results)
    published = any(result.published for result in sheet.results)
    best = {
        column: max((r.mean for r in sheet.results if r.column == column and r.mean is not None), default=0.0)
        for column in sheet.table.columns
    }
    cells = [
        {
            "place": place,
            "result": result,
            "shade": shade(result, None if published else best[result.column]),
            "rank": ranked.get((result.row, result.column), 0),
            "theirs": theirs(result),
            "apart": apart(result),
        }
        for place, result in enumerate(sheet.results)
    ]
    width = len(sheet.table.columns)
    return {
        "table": sheet.table,
        "rows": [(row, cells[i * width : (i + 1) * width]) for i, row in enumerate(sheet.table.rows)],
        "done": sum(result.n for result in sheet.results),
        "wanted": len(sheet.results) * len(sheet.table.seeds),
        "published": published,
        "lines": sheet.beneath,
    }


def shade(result: Result, best: float | None) -> str:
    """A cell's CSS class for its colour: m3 (far below the published mean) to z to p3, or q0 (best) to q5, or "".

    Args:
        best: the highest mean of the column, for a table without published numbers.
    """
    if result.mean is None:
        return ""
    if result.difference is None:
        return "" if best is None else f"q{sum(best - result.mean > limit for limit in BELOW)}"
    step = sum(abs(result.difference) >= limit for limit in STEPS)
    return f"{'p' if result.difference > 0 else 'm'}{step}" if step else "z"
