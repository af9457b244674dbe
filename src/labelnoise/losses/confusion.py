"""AnyLoss: a confusion-matrix metric as a loss. A steep sigmoid pushes the predictions towards 0 and 1.

Source: Han, Moniz, Chawla 2024 (KDD), arXiv:2405.14745, AnyLoss: Transforming Classification Metrics into Loss
Functions. The paper covers two classes; `any_loss_mc`, one class against the rest, is this project's extension.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, log_probs, needs

__all__ = ["any_loss", "any_loss_mc"]

Metric = Literal["accuracy", "f1", "balanced_accuracy", "g_mean"]


def _scores(predicted: Tensor, true: Tensor, metric: Metric) -> Tensor:
    """The metric of each column. Shapes: (B, K) in (0, 1), (B, K) of 0 and 1 -> (K,)."""
    positives, negatives = true.sum(dim=0), (1 - true).sum(dim=0)
    hits, rejections = (true * predicted).sum(dim=0), ((1 - true) * (1 - predicted)).sum(dim=0)
    if metric == "accuracy":
        return (hits + rejections) / len(true)
    if metric == "f1":
        return 2 * hits / (positives + predicted.sum(dim=0))
    sensitivity, specificity = hits / positives.clamp(min=1), rejections / negatives.clamp(min=1)
    if metric == "balanced_accuracy":
        return (sensitivity + specificity) / 2
    return (sensitivity * specificity).clamp(min=1e-30).sqrt()  # sqrt has no finite gradient at 0 (an absent class)


@needs("batch")
@checked
def any_loss_mc(logits: Tensor, labels: Tensor, L: Annotated[float, Gt(0)], metric: Metric = "f1") -> Tensor:
    """1 - the mean over the batch's classes of a one-against-the-rest metric of sigmoid(L (p_k - 1/2)).

    Shapes: logits (B, C), labels (B,) -> 0-d, in [0, 1].
    Args:
        L: the steepness. The paper's 73 gives no gradient if every p_k is far from 1/2, as at the start.
    Raises:
        ValueError: L out of range, or unknown metric.
    Source: an extension of Han, Moniz, Chawla 2024, arXiv:2405.14745.
    """
    logs = log_probs(logits)
    true = at_label(logs, labels)
    present = (true.sum(dim=0) > 0).to(logs.dtype)
    scores = _scores(torch.sigmoid(L * (logs.exp() - 0.5)), true, metric)
    return 1 - (scores * present).sum() / present.sum()


@needs("batch", "binary")
@checked
def any_loss(logits: Tensor, labels: Tensor, L: Annotated[float, Gt(0)] = 73.0, metric: Metric = "f1") -> Tensor:
    """AnyLoss as published, for two classes: 1 - a metric of sigmoid(L (p_1 - 1/2)); class 1 is the positive one.

    Shapes: logits (B, 2), labels (B,) -> 0-d, in [0, 1].
    Args:
        L: the steepness.
    Raises:
        ValueError: L out of range, unknown metric, or not two classes.
    Source: Han, Moniz, Chawla 2024, arXiv:2405.14745.
    """
    if logits.shape[1:] != (2,):
        raise ValueError(f"logits {tuple(logits.shape)}: any_loss is for two classes; any_loss_mc takes more")
    logs = log_probs(logits)
    true = at_label(logs, labels)
    return 1 - _scores(torch.sigmoid(L * (logs[:, 1:].exp() - 0.5)), true[:, 1:], metric)[0]
