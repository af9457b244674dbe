"""How good a ranking of suspicious labels is, where the true labels are known."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from labelnoise.data.dataset import Dataset

CUTS = (1_000, 5_000, 20_000)  # images from the top, of CIFAR's 50,000; as large a share elsewhere
OF = 50_000


class Quality(NamedTuple):
    """Of a ranking.

    Attributes:
        precision: for each number of images from the top, the share of them whose label is wrong.
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
    """Which labels are wrong (N,), bool; None where that is not known, or none or all of them are."""
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
