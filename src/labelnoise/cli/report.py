"""Write one HTML page from a folder of records: tables with published numbers, curves, noise, configurations.

labelnoise report
labelnoise report results=runs out=report.html

Records are read from results= (default: runs) and from the committed ones.

The page is self-contained: tables as HTML, records as compressed JSON, Vega-Lite as compressed JavaScript. It opens
from disk. Its content security policy allows no requests and no script but its own.
"""

from pathlib import Path

from labelnoise.files.atomic import write_whole
from labelnoise.report.collect import collect, default_folder
from labelnoise.report.page import charting_library, render


def report(arguments: list[str]) -> None:
    """Write the page from `results=` to `out=` and print one line.

    Raises:
        ValueError: another argument, the folder does not exist, or the extra `report` is not installed.
        OSError: `out` cannot be written.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    for name, value in given.items():
        if name not in ("results", "out") or not value:
            raise ValueError(f"{name}={value}: the report takes results=DIR and out=FILE")
    library = charting_library()
    collection = collect(given.get("results") or default_folder())
    out = Path(given.get("out") or "report.html")
    text = render(collection, library).encode()
    write_whole(out, text)
    print(f"{out} written: {len(collection.records):,} runs, {len(text) / 1e6:.1f} MB")
