"""Write one HTML page from a folder of records: tables with published numbers, curves, noise, configurations.

labelnoise report
labelnoise report results=runs out=report.html

labelnoise report results=DIR only=true table=mine --config-dir DIR

Records are read from results= (default: runs) and, but for only=true, from the committed ones. The page has every
table, or with table= that one; --config-dir adds those of a folder of your own.

The page is self-contained: tables as HTML, records as compressed JSON, Vega-Lite as compressed JavaScript. It opens
from disk. Its content security policy allows no requests and no script but its own.
"""

from pathlib import Path

from labelnoise.config.groups import SEARCHPATH
from labelnoise.files.atomic import write_whole
from labelnoise.report.collect import collect, default_folder
from labelnoise.report.page import charting_library, render


def report(arguments: list[str]) -> None:
    """Write the page from `results=` to `out=` and print one line.

    Raises:
        ValueError: another argument, the folder or table does not exist, or the extra `report` is not installed.
        OSError: `out` cannot be written.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    own = [argument for argument in arguments if argument.startswith(SEARCHPATH)]
    given.pop(SEARCHPATH.removesuffix("="), None)
    for name, value in given.items():
        if name not in ("results", "out", "only", "table") or not value:
            raise ValueError(f"{name}={value}: the report takes results=DIR, only=true, table=NAME and out=FILE")
    if given.get("only", "false") not in ("true", "false"):
        raise ValueError(f"only={given['only']}: must be true or false")
    only = given.get("only") == "true"
    with charting_library() as library:
        collection = collect(given.get("results") or default_folder(), only, given.get("table", ""), own)
        text = render(collection, library).encode()
    out = Path(given.get("out") or "report.html")
    write_whole(out, text)
    print(f"{out} written: {len(collection.records):,} runs, {len(text) / 1e6:.1f} MB")
