"""A table in one of the formats, from the records of its cells."""

import shlex
from collections.abc import Callable

from labelnoise.config.groups import typed
from labelnoise.config.subcommands import command
from labelnoise.records.store import Record
from labelnoise.tables import comparison, latex, machine_readable, markdown, page, significance
from labelnoise.tables.sheet import Sheet, beneath, legend_of
from labelnoise.tables.table import Cell, Table

FORMATS: dict[str, Callable[[Sheet], str]] = {
    "markdown": markdown.render,
    "latex": latex.render,
    "csv": machine_readable.as_csv,
    "html": page.render,
    "json": machine_readable.as_json,
}


def render(
    table: Table,
    wanted: list[Cell],
    found: dict[str, Record],
    form: str,
    overrides: list[str],
    against: str | None = None,
    corrected: bool = False,
) -> str:
    """The table, without a trailing newline.

    Args:
        wanted: its cells.
        found: run id -> record, of those that have one.
        form: one of FORMATS.
        overrides: that chose the table, for the commands beneath it.
        against: with tests of each row against this one, as in `significance.tests_against`.
    """
    results = comparison.results(table, wanted, found)
    legend, tests, asked = legend_of(table, results), None, ""
    if against is not None:
        tests = significance.tests_against(results, against, corrected)
        legend.append(significance.legend(tests, table.named(against), corrected))
        asked = f" test={against}" + (f" correction={significance.HOLM}" if corrected else "")
    options = " ".join(shlex.quote(word) if " " in word else word for word in typed(overrides))
    commands = [f"{command('train')} -m {options}", f"{command('table')} {options} format={form}{asked}"]
    lines = beneath(table, results, list(found.values()), commands, legend)
    return FORMATS[form](Sheet(table, results, lines, legend, tests)).removesuffix("\n")
