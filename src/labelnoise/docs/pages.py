"""The documents with generated parts, and those parts."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from labelnoise.docs import options, parts, results
from labelnoise.records import store
from labelnoise.records.environment import REPOSITORY
from labelnoise.report import loss_curves
from labelnoise.tables.render import render
from labelnoise.tables.table import cells, read

PART = re.compile(r"(<!-- generated: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
MAKERS: dict[str, Callable[..., str]] = {
    "groups": options.groups,
    "options": options.options,
    "subcommands": options.subcommands,
    "interface": options.interface,
    "losses": parts.losses,
    "methods": parts.methods,
    "datasets": parts.datasets,
    "noises": parts.noises,
    "networks": parts.networks,
    "tables": parts.tables,
    "table": results.table,
    "cells": results.cells_with_ids,
    "memorised": results.memorised,
    "means": results.means,
}


def documents(root: Path = REPOSITORY) -> Iterator[tuple[Path, str]]:
    """Every document that has generated parts, and what it must contain.

    These are README.md and docs/*.md, whose parts stand between `<!-- generated: NAME -->` and `<!-- end -->`, and
    results/<table>.md, which are tables as a whole; and the report page's data on losses.

    Raises:
        ValueError: a part has a name that is not known, or arguments that do not fit; gives the file.
    """
    for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        text = path.read_text()
        try:
            yield path, PART.sub(lambda found: f"{found[1]}{_part(found[2])}\n{found[3]}", text)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from None
    for path in sorted((root / "results").glob("*.md")):
        yield path, _whole_table(path.stem)
    if (path := root / "src" / "labelnoise" / "report" / "assets" / "losses.json").is_file():
        yield path, loss_curves.as_json()


def _part(asked: str) -> str:
    """A generated part; `asked` is its name and its arguments, `name one key=value`."""
    name, *arguments = asked.split()
    if name not in MAKERS:
        raise ValueError(f"generated: {name}: no such part; one of {', '.join(MAKERS)}")
    keywords = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    return MAKERS[name](*(argument for argument in arguments if "=" not in argument), **keywords)


def _whole_table(name: str) -> str:
    choice = [f"table={name}"]
    table = read(choice)
    wanted = cells(table)
    found = {cell.run_id: record for cell in wanted if (record := store.committed(cell.run_id))}
    return render(table, wanted, found, "markdown", choice) + "\n"
