"""The second opinion: confident learning as the cleanlab package computes it."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Second(NamedTuple):
    """Attributes: quality (N,), 0 to 1, of the given labels; issue (N,), bool, whether each is called wrong."""

    quality: "Tensor"
    issue: "Tensor"


def installed() -> bool:
    """Whether the package is installed."""
    from importlib.util import find_spec

    return find_spec("cleanlab") is not None


def confident_learning(labels: "Tensor", probs: "Tensor") -> Second:
    """cleanlab's label quality scores (its default, self-confidence), and the label issues of confident learning.

    Shapes: (N,), (N, C) -> (N,), (N,).
    Raises:
        ValueError: the package is not installed.
    Source: Northcutt et al. 2021, arXiv:1911.00068.
    """
    import torch

    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise ValueError("cleanlab is not installed: pip install 'labelnoise[audit]'") from None
    given, predicted = labels.numpy(), probs.double().numpy()
    quality = get_label_quality_scores(given, predicted)
    issue = find_label_issues(given, predicted, filter_by="confident_learning", n_jobs=1)
    return Second(torch.from_numpy(quality).float(), torch.from_numpy(issue))
