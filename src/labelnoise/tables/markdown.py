"""A table as Markdown, for a document; published values on a second line of the cell."""

from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.escaping import markdown, markdown_code
from labelnoise.tables.sheet import Sheet, apart, ours, theirs


def render(sheet: Sheet) -> str:
    """The title, the table and a list of notes."""
    ranked = ranks(sheet.results)

    def cell(result: Result) -> str:
        rank = ranked.get((result.row, result.column))
        number, _, rest = ours(result).partition(" ")
        number = {1: f"**{number}**", 2: f"<u>{number}</u>"}.get(rank or 0, number)
        lines = [f"{number} {rest} {sheet.marks(result)}".strip(), theirs(result), apart(result)]
        return "<br>".join(line for line in lines if line)

    # an underscore inside a word needs no escape
    columns = [markdown(sheet.table.named(column)).replace(r"\_", "_") for column in sheet.table.columns]
    lines = [f"**{markdown(sheet.table.title)}**", "", bars([sheet.table.heading, *columns])]
    lines += [bars(["---"] * (len(columns) + 1))]
    # a bar ends a cell even within code
    labels = {row: markdown_code(row).replace("|", r"\|") for row in sheet.table.rows}
    labels |= {row: markdown(name) for row, name in sheet.table.file.names.items() if row in labels}
    lines += [bars([labels[row], *map(cell, sheet.row(row))]) for row in sheet.table.rows]
    return "\n".join([*lines, "", *(f"- {_line(line)}" for line in sheet.beneath)]) + "\n"


def bars(cells: list[str]) -> str:
    """A row of a Markdown table. The cells are already escaped."""
    return "| " + " | ".join(cells) + " |"


def _line(line: str) -> str:
    name, _, command = line.partition("Command: ")
    return f"Command: {markdown_code(command)}" if not name and command else markdown(line)
