"""The properties of many losses as rows of a table, for docs/losses.md and losscheck --all."""

from collections.abc import Mapping
from dataclasses import dataclass

from labelnoise.theory.evaluation import LossFunction, refuse
from labelnoise.theory.verdicts import Evidence, gather

NO_RATIO = {
    "vertex": "never",
    "not unique": "degenerate minimum",
    "not the vertex": "minimum is not one-hot",
    "none": "no minimum",
    "not on the simplex": "no function of p",
}
HEAD = ("loss", "symmetric", "asymmetric", "critical ratio")


@dataclass(frozen=True)
class Row:
    """One loss, with the text of each cell."""

    loss: str
    symmetric: str
    asymmetric: str
    critical_ratio: str


def rows(losses: Mapping[str, LossFunction], num_classes: int = 10) -> list[Row]:
    """A row for each named loss; the last column says why if the loss cannot be judged."""
    found = []
    for name, loss in losses.items():
        try:
            refuse(loss, num_classes)
            found.append(row(name, gather(loss, num_classes)))
        except ValueError as error:
            found.append(Row(name, "-", "-", str(error).rpartition(": ")[2]))
    return found


def row(name: str, found: Evidence) -> Row:
    """The row of one loss.

    asymmetric: completely, from some ratio or difference of label probabilities upwards, or never.
    """
    if found.completely_asymmetric:
        asymmetric, ratio = "completely", "1"
    elif found.ratio is not None:
        asymmetric, ratio = "from a ratio on", f"{found.ratio:.3f}"
    elif found.difference is not None:
        asymmetric, ratio = "from a difference on", f"w_m - w_n >= {found.difference:.3f}"
    else:
        asymmetric, ratio = "no", NO_RATIO[found.minimum]
    return Row(name, "yes" if found.symmetric else "no", asymmetric, ratio)


def markdown(found: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [" | ".join(HEAD), "|".join(["---"] * len(HEAD))]
    lines += [" | ".join((f"`{r.loss}`", r.symmetric, r.asymmetric, r.critical_ratio)) for r in found]
    return "\n".join(f"|{line}|" if set(line) <= {"-", "|"} else f"| {line} |" for line in lines)
