"""One self-contained HTML page: tables with published numbers, curves, noise, configurations, from records."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from labelnoise.files.html import asset, render_with_script
from labelnoise.report.collect import Collection
from labelnoise.report.pack import content, details, packed
from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.sheet import Sheet, apart, theirs

SCRIPTS = ("dom", "charts", "tables", "panel", "run", "runs", "losses", "main")  # assets/<name>.js, in this order
BUNDLE = """
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode())
"""
STEPS = (0.5, 2.0, 5.0)  # points from the published mean at which a cell's colour gets stronger
BELOW = (1.0, 3.0, 6.0, 12.0, 25.0)  # the same below the best of a column, for tables without published numbers


@contextmanager
def charting_library() -> Iterator[Callable[[], str]]:
    """Vega-Lite, Vega and Vega-Embed as one script, from the package vl-convert-python.

    Bundling them takes a second and 100 MiB, so another process does it meanwhile; the function waits for it.

    Raises:
        ValueError: the package is not installed, or fails.
    """
    if find_spec("vl_convert") is None:
        raise ValueError("the report needs vl-convert-python: pip install 'labelnoise[report]'")
    with subprocess.Popen([sys.executable, "-c", BUNDLE], stdout=subprocess.PIPE) as process:

        def script() -> str:
            text = process.communicate()[0].decode()
            if process.returncode:
                raise ValueError(f"vl-convert-python failed, exit code {process.returncode}")
            return text

        try:
            yield script
        finally:
            process.kill()


def render(collection: Collection, library: Callable[[], str]) -> str:
    """The page.

    Args:
        library: returns a script that sets window.vegaEmbed.
    """
    files = [asset("labelnoise.report", f"{name}.js") for name in SCRIPTS]
    return render_with_script(
        "labelnoise.report",
        "(async () => {\n" + "\n".join(files) + "\n})();\n",
        sheets=list(map(_shown, collection.sheets)),
        runs=len(collection.records),
        data=packed(content(collection)),
        details=map(packed, details(collection)),
        losses=packed(asset("labelnoise.report", "losses.json")),
        library=packed(library()),
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
