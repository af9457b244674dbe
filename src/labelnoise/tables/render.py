"""A table in one of the formats, from the records of its cells."""

from collections.abc import Callable

from labelnoise.config.subcommands import command
from labelnoise.records.store import Record
from labelnoise.tables import comparison, latex, machine_readable, markdown, page
from labelnoise.tables.sheet import Sheet, beneath
from labelnoise.tables.table import Cell, Table

FORMATS: dict[str, Callable[[Sheet], str]] = {
    "markdown": markdown.render,
    "latex": latex.render,
    "csv": machine_readable.as_csv,
    "html": page.render,
    "json": machine_readable.as_json,
}


def render(table: Table, wanted: list[Cell], found: dict[str, Record], form: str, overrides: list[str]) -> str:
    """The table, without a trailing newline.

    Args:
        wanted: its cells.
        found: run id -> record, of those that have one.
        form: one of FORMATS.
        overrides: that chose the table, for the commands beneath it.
    """
    results = comparison.results(table, wanted, found)
    options = " ".join(overrides)
    commands = [f"{command('train')} -m {options}", f"{command('table')} {options} format={form}"]
    sheet = Sheet(table, results, beneath(table, results, list(found.values()), commands))
    return FORMATS[form](sheet).removesuffix("\n")
