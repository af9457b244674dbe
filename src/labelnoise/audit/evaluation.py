"""Evaluate a ranking of suspicious labels against known true labels."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from labelnoise.data.dataset import Dataset

CUTS = (1_000, 5_000, 20_000)  # top images of CIFAR's 50,000; the same shares of other data sets
OF = 50_000


class Quality(NamedTuple):
    """The quality of a ranking.

    Attributes:
        precision: by number of top images, the share of them whose label is wrong.
        average_precision: the area under the precision-recall curve; a random ranking has the share of wrong labels.
    """

    precision: dict[int, float]
    average_precision: float


def quality(suspicion: "Tensor", wrong: "Tensor") -> Quality:
    """Precision at the cuts and the area under the precision-recall curve.

    Args:
        suspicion: (N,), larger for labels that are more probably wrong.
        wrong: (N,), bool.
    """
    from sklearn.metrics import average_precision_score

    ranked = wrong[suspicion.argsort(descending=True, stable=True)].double()
    at = {count: float(ranked[:count].mean()) for count in cuts(len(wrong))}
    return Quality(at, float(average_precision_score(wrong.numpy(), suspicion.numpy())))


def cuts(count: int) -> tuple[int, ...]:
    """The cuts for a set of `count` images."""
    return tuple(max(1, round(cut * count / OF)) for cut in CUTS)


def wrong_labels(dataset: "Dataset", labels: "Tensor") -> "Tensor | None":
    """Which labels are wrong (N,), bool; None if that is unknown, or if none or all are."""
    if dataset.true_labels is None:
        return None
    wrong = labels != dataset.true_labels
    return wrong if 0 < int(wrong.sum()) < len(wrong) else None


def table(rankings: "dict[str, Tensor]", wrong: "Tensor") -> str:
    """The quality of each ranking as a Markdown table.

    Args:
        rankings: name -> suspicion (N,).
    """
    heads = [f"precision at {count:,}" for count in cuts(len(wrong))]
    lines = ["| ranking | " + " | ".join([*heads, "area under PR"]) + " |", "|---" * (len(heads) + 2) + "|"]
    for name, suspicion in rankings.items():
        found = quality(suspicion, wrong)
        numbers = [f"{value:.1%}" for value in found.precision.values()] + [f"{found.average_precision:.4f}"]
        lines.append(f"| {name} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)
