r"""A table as a LaTeX tabular for \usepackage{booktabs}; published values are in their own row."""

from labelnoise.files.text import plain
from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.escaping import LONGEST, latex
from labelnoise.tables.sheet import Sheet, apart, ours, theirs


def render(sheet: Sheet) -> str:
    """The title and notes as comments, then the tabular."""
    ranked = ranks(sheet.results)
    columns = list(sheet.table.columns)

    def cell(result: Result) -> str:
        if result.mean is None:
            return "--"
        rank = ranked.get((result.row, result.column))
        number, _, rest = ours(result).partition(" ")
        number = {1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}"}.get(rank or 0, number)
        mark = r"$^{\dagger}$" if result.marked else ""
        return f"{number} {latex(rest)}{mark}"

    comments = [r"\usepackage{booktabs}", sheet.table.title, *sheet.beneath]
    lines = [f"% {plain(line, LONGEST)}" for line in comments]
    lines += [rf"\begin{{tabular}}{{l{'c' * len(columns)}}}", r"\toprule"]
    lines += [_ampersands([sheet.table.heading, *map(latex, columns)]), r"\midrule"]
    for row in sheet.table.rows:
        results = sheet.row(row)
        lines.append(_ampersands([latex(row), *map(cell, results)]))
        if any(result.published for result in results):
            lines.append(_ampersands([r"\quad published", *(latex(theirs(r)) for r in results)]))
            lines.append(_ampersands([r"\quad difference", *(latex(apart(r)) for r in results)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _ampersands(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
