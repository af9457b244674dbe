r"""A table as a LaTeX table for \usepackage{booktabs}; published values are in their own row."""

from labelnoise.files.text import plain
from labelnoise.tables.comparison import Result, ranks
from labelnoise.tables.escaping import LONGEST, latex, latex_with_formulas
from labelnoise.tables.sheet import Sheet, apart, theirs, without_count
from labelnoise.tables.table import Table

OF_METRIC = {
    "test_acc_last": "after the last epoch",
    "test_acc_best": "of the best epoch (an oracle: chosen on the test set)",
    "test_acc_last10": "on average over the last ten evaluations",
    "test_acc_val": "at the epoch that held-out images choose",
}


def render(sheet: Sheet) -> str:
    """The title and notes as comments, then the table with its caption."""
    table, ranked = sheet.table, ranks(sheet.results)
    counts = {result.n for result in sheet.results if result.n}
    columns = list(table.columns)

    def cell(result: Result) -> str:
        if result.mean is None:
            return "--"
        number = latex(without_count(result))
        rank = ranked.get((result.row, result.column))
        number = {1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}"}.get(rank or 0, number)
        return number + (f" ({result.n})" if len(counts) > 1 else "") + latex(sheet.marks(result))

    comments = [r"\usepackage{booktabs}", table.title, *sheet.beneath]
    lines = [f"% {plain(line, LONGEST)}" for line in comments]
    lines += [r"\begin{table}", r"\centering", rf"\caption{{{_caption(sheet, counts)}}}"]
    lines += [rf"\label{{tab:{table.name}}}", rf"\begin{{tabular}}{{l{'c' * len(columns)}}}", r"\toprule"]
    lines += [
        _ampersands([latex(table.heading.capitalize()), *(_name(table, label) for label in columns)]),
        r"\midrule",
    ]
    for row in table.rows:
        results = sheet.row(row)
        lines.append(_ampersands([_name(table, row), *map(cell, results)]))
        if any(result.published for result in results):
            lines.append(_ampersands([r"\quad published", *(latex(theirs(r)) for r in results)]))
            lines.append(_ampersands([r"\quad difference", *(latex(apart(r)) for r in results)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _caption(sheet: Sheet, counts: set[int]) -> str:
    """The caption or title, what a cell says, and the legend. Has the number of seeds if all cells have the same."""
    table, most = sheet.table, max(counts, default=0)
    title = latex_with_formulas(table.file.caption) if table.file.caption else latex(table.title)
    seeds = " (number of seeds)" if len(counts) > 1 else f" over {most} seeds" if most > 1 else ", of one seed"
    spread = ", mean ± standard deviation" if most > 1 else ""
    what = f"Test accuracy in percent {OF_METRIC[table.metric]}{spread}{seeds if most else ''}."
    said = " ".join(map(latex, [what, *sheet.legend]))
    for name in table.file.names.values():
        said = said.replace(latex(name), latex_with_formulas(name))
    return f"{title.rstrip('.')}. {said}"


def _name(table: Table, label: str) -> str:
    return latex_with_formulas(table.file.names[label]) if label in table.file.names else latex(label)


def _ampersands(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
