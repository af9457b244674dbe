"""The properties of many losses as rows of a table, for the README: generated, not typed."""

from collections.abc import Mapping
from dataclasses import dataclass

from labelnoise.theory.checking import check
from labelnoise.theory.evaluation import LossFunction
from labelnoise.theory.report import Report

HEAD = ("loss", "symmetric", "asymmetric", "critical ratio")


@dataclass(frozen=True)
class Row:
    """One loss: each entry is what the table shows."""

    loss: str
    symmetric: str
    asymmetric: str
    critical_ratio: str


def rows(losses: Mapping[str, LossFunction], num_classes: int = 10) -> list[Row]:
    """A row for each loss by its name; a loss that cannot be judged says why in the last column."""
    found = []
    for name, loss in losses.items():
        try:
            found.append(row(name, check(loss, num_classes)))
        except ValueError as error:
            found.append(Row(name, "-", "-", _reason(str(error))))
    return found


def row(name: str, report: Report) -> Row:
    """The row of one report.

    asymmetric: completely, from some ratio or difference of label probabilities on, or never.
    """
    if report.completely_asymmetric:
        asymmetric, ratio = "completely", "1"
    elif report.critical_ratio is not None:
        asymmetric, ratio = "from a ratio on", f"{report.critical_ratio:.3f}"
    elif report.critical_difference is not None:
        asymmetric, ratio = "from a difference on", f"w_m - w_n >= {report.critical_difference:.3f}"
    else:
        asymmetric, ratio = "no", "never" if report.minimum == "vertex" else f"minimum {report.minimum}"
    return Row(name, "yes" if report.symmetric else "no", asymmetric, ratio)


def markdown(found: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [" | ".join(HEAD), "|".join(["---"] * len(HEAD))]
    lines += [" | ".join((f"`{r.loss}`", r.symmetric, r.asymmetric, r.critical_ratio)) for r in found]
    return "\n".join(f"|{line}|" if set(line) <= {"-", "|"} else f"| {line} |" for line in lines)


def _reason(message: str) -> str:
    return message.partition(": ")[2].partition(":")[0] or message
