"""A table with its published numbers as Markdown, LaTeX, CSV, HTML, JSON or one line."""

import csv
import html
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from labelnoise.experiment.progress import duration
from labelnoise.experiment.records import Record
from labelnoise.tables.comparison import LEVEL, Result, ranks
from labelnoise.tables.table import Table


class Sheet(NamedTuple):
    """What is rendered: a table, its results in the order of rows and columns, and the lines beneath it."""

    table: Table
    results: list[Result]
    beneath: list[str]

    def row(self, label: str) -> list[Result]:
        """A row's results by column."""
        return [result for result in self.results if result.row == label]


def beneath(table: Table, results: list[Result], found: list[Record], commands: list[str]) -> list[str]:
    """The lines under a table: what the numbers are, how far it is, and where they come from."""
    done, wanted = sum(result.n for result in results), len(results) * len(table.seeds)
    what = "Test accuracy in percent, mean ± standard deviation (number of seeds)."
    lines = [f"{what} {done} of {wanted} trainings are done."]
    if any(result.published for result in results):
        count = sum(result.marked for result in results)
        lines += [
            f"Beneath ours: {table.published['label']}.",
            "Then the difference in points, and in brackets over sqrt((s1² + s2²) / 2).",
            f"† Welch's two-sided p < {LEVEL} against the published value ({count} of "
            f"{sum(result.p is not None for result in results)} cells that can be tested): were everything equal, "
            f"{LEVEL:.0%} of the cells are expected to be marked.",
        ]
    if ranks(results):
        lines.append("Bold: the best of a column; underlined: the second best.")
    lines += table.notes
    if found:
        lines.append(f"Commits: {_counted(found, 'commit')}. Machines: {_counted(found, 'machine')}.")
    return [*lines, *(f"Command: {command}" for command in commands)]


def _counted(found: list[Record], what: str) -> str:
    """Commits or machines with the number of records from each, the most frequent first."""

    def fact(record: Record) -> str:
        facts = record["environment"]
        if what == "commit":
            return (facts.get("commit") or "unknown")[:7] + (" with changes" if facts.get("dirty") else "")
        device = facts.get("device", "cpu")
        device = facts.get("processor") or "unknown" if device == "cpu" else device
        return f"{device} ({facts.get('precision')}, torch {(facts.get('versions') or {}).get('torch')})"

    return ", ".join(f"{name}: {count}" for name, count in Counter(map(fact, found)).most_common())


# ---------------------------------------------------------------------------------------------------------- numbers


def ours(result: Result) -> str:
    """75.12 ± 0.30 (3); without a deviation for one seed."""
    if result.mean is None:
        return "missing"
    return f"{result.mean:.2f}" + ("" if result.std is None else f" ± {result.std:.2f}") + f" ({result.n})"


def theirs(result: Result) -> str:
    """75.47 ± 0.27, or nothing."""
    if result.published is None:
        return ""
    return f"{result.published.mean:.2f}" + ("" if result.published.std is None else f" ± {result.published.std:.2f}")


def apart(result: Result) -> str:
    """−0.35 (−1.2), or nothing."""
    if result.difference is None:
        return ""
    text = f"{result.difference:+.2f}" + ("" if result.distance is None else f" ({result.distance:+.1f})")
    return text.replace("-", "−")


# ---------------------------------------------------------------------------------------------------------- formats


def markdown(sheet: Sheet) -> str:
    """A table for a README; published values on a second line of the cell."""
    ranked = ranks(sheet.results)

    def cell(result: Result) -> str:
        rank = ranked.get((result.row, result.column))
        number, _, rest = ours(result).partition(" ")
        number = {1: f"**{number}**", 2: f"<u>{number}</u>"}.get(rank or 0, number)
        lines = [f"{number} {rest}".strip() + (" †" if result.marked else ""), theirs(result), apart(result)]
        return "<br>".join(line for line in lines if line)

    columns = list(sheet.table.columns)
    lines = [f"**{sheet.table.title}**", "", _bars(["loss", *columns]), _bars(["---"] * (len(columns) + 1))]
    lines += [_bars([f"`{row}`", *map(cell, sheet.row(row))]) for row in sheet.table.rows]
    return "\n".join([*lines, "", *(f"- {_escaped(line)}" for line in sheet.beneath)]) + "\n"


def _bars(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(line: str) -> str:
    name, _, command = line.partition("Command: ")
    return f"Command: `{command}`" if not name and command else line.replace("_", "\\_").replace("<", "&lt;")


def latex(sheet: Sheet) -> str:
    r"""A tabular for \usepackage{booktabs}; published values in a row of their own."""
    ranked = ranks(sheet.results)
    columns = list(sheet.table.columns)

    def cell(result: Result) -> str:
        if result.mean is None:
            return "--"
        rank = ranked.get((result.row, result.column))
        number, _, rest = ours(result).partition(" ")
        number = {1: rf"\textbf{{{number}}}", 2: rf"\underline{{{number}}}"}.get(rank or 0, number)
        mark = r"$^{\dagger}$" if result.marked else ""
        return f"{number} {_tex(rest)}{mark}"

    lines = [f"% {line}" for line in [r"\usepackage{booktabs}", sheet.table.title, *sheet.beneath]]
    lines += [rf"\begin{{tabular}}{{l{'c' * len(columns)}}}", r"\toprule"]
    lines += [_ampersands(["loss", *map(_tex, columns)]), r"\midrule"]
    for row in sheet.table.rows:
        results = sheet.row(row)
        lines.append(_ampersands([_tex(row), *map(cell, results)]))
        if any(result.published for result in results):
            lines.append(_ampersands([r"\quad published", *(_tex(theirs(r)) for r in results)]))
            lines.append(_ampersands([r"\quad difference", *(_tex(apart(r)) for r in results)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _ampersands(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _tex(text: str) -> str:
    for plain, escaped in (("\\", r"\textbackslash "), ("&", r"\&"), ("%", r"\%"), ("#", r"\#"), ("_", r"\_")):
        text = text.replace(plain, escaped)
    return text.replace("±", r"$\pm$").replace("−", "$-$")


def as_csv(sheet: Sheet) -> str:
    """One line a row and column; empty where there is no value."""
    out = io.StringIO()
    names, theirs = ("difference", "distance", "p"), ("published_mean", "published_std", "published_runs")
    heads = ("row", "column", "mean", "std", "n", *theirs, *names, "run_ids")
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(heads)
    for r in sheet.results:
        published = (None, None, None) if r.published is None else r.published
        numbers = (_short(value) for value in (r.mean, r.std, r.n, *published, *(getattr(r, name) for name in names)))
        lines.writerow([r.row, r.column, *numbers, " ".join(r.run_ids)])
    return out.getvalue()


def _short(value: float | None) -> float | None:
    return value if value is None else round(value, 6)


def as_json(sheet: Sheet) -> str:
    """A list of every row and column, null where there is no value."""
    content = [
        {
            "row": r.row,
            "column": r.column,
            "mean": _short(r.mean),
            "std": _short(r.std),
            "n": r.n,
            "published_mean": r.published.mean if r.published else None,
            "published_std": r.published.std if r.published else None,
            "run_ids": list(r.run_ids),
        }
        for r in sheet.results
    ]
    return json.dumps(content, indent=1) + "\n"


STYLE = """body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .5em 0 }
th, td { padding: .3em .7em; text-align: right; white-space: nowrap } th:first-child { text-align: left }
thead th { border-bottom: 2px solid #222 } tbody tr { border-bottom: 1px solid #ddd }
small { display: block; color: #666 } .missing { color: #999 } .second { text-decoration: underline }
@media (prefers-color-scheme: dark) {
  body { background: #181818; color: #ddd } small { color: #aaa }
  thead th { border-color: #ddd } tbody tr { border-color: #444 }
}"""


def as_html(sheet: Sheet) -> str:
    """A page of its own, nothing loaded from elsewhere."""
    ranked = ranks(sheet.results)

    def cell(result: Result) -> str:
        if result.mean is None:
            text = '<span class="missing">missing</span>'
        else:
            number, _, rest = ours(result).partition(" ")
            rank = ranked.get((result.row, result.column))
            number = {1: f"<b>{number}</b>", 2: f'<span class="second">{number}</span>'}.get(rank or 0, number)
            text = f"{number} {rest}" + (" †" if result.marked else "")
        return f"<td>{text}{''.join(f'<small>{line}</small>' for line in (theirs(result), apart(result)) if line)}</td>"

    title = html.escape(sheet.table.title)
    heads = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in sheet.table.columns)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(row)}</th>{"".join(map(cell, sheet.row(row)))}</tr>'
        for row in sheet.table.rows
    )
    lines = "\n".join(f"<p>{html.escape(line)}</p>" for line in sheet.beneath)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n<style>{STYLE}</style></head>\n'
        f'<body>\n<div style="overflow-x: auto"><table><caption>{title}</caption>\n'
        f'<thead><tr><th scope="col">loss</th>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n{lines}\n'
        "</body>\n</html>\n"
    )


FORMATS: dict[str, Callable[[Sheet], str]] = {
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "html": as_html,
    "json": as_json,
}


def status(name: str, done: int, running: int, failed: int, missing: int, seconds: list[float]) -> str:
    """How far a table is, in one line; the time left from what the records took.

    Args:
        missing: neither done, nor running, nor failed.
        seconds: what each finished training took.
    """
    left = running + failed + missing
    line = f"{name}: {done} of {done + left} done, {running} running, {failed} failed, {missing} missing"
    if not left:
        return line
    if not seconds:
        return f"{line}; time left unknown, there is no record to go by"
    at_once = max(running, 1)
    time = duration(left * sum(seconds) / len(seconds) / at_once)
    return f"{line}; about {time} left at {at_once} at a time"
