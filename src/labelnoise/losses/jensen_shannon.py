"""Jensen-Shannon divergences of label and predictions: they interpolate cross-entropy and mean absolute error.

Source: Englesson, Azizpour 2021 (NeurIPS), arXiv:2105.04522, including the factor -1 / ((1 - pi) log(1 - pi)).
"""

from math import log, log1p
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, log_prob_of_label, log_probs, needs, of_label

__all__ = ["gjs", "js"]


def _scale(pi: float) -> float:
    return -1 / ((1 - pi) * log1p(-pi))


@checked
def js(logits: Tensor, labels: Tensor, pi: Annotated[float, Gt(0), Lt(1)]) -> Tensor:
    """Jensen-Shannon loss, scale (pi KL(e_y, m) + (1 - pi) KL(p, m)) with m = pi e_y + (1 - pi) p.

    Cross-entropy as pi -> 0, mean absolute error (1 - p_y) as pi -> 1.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Args:
        pi: the weight of the label.
    Raises:
        ValueError: pi out of range.
    Source: Englesson, Azizpour 2021, arXiv:2105.04522.
    """
    scale = _scale(pi)
    log_p = log_prob_of_label(logits, labels)
    log_m = torch.logaddexp(log_p + log1p(-pi), log_p.new_full((), log(pi)))
    # KL(p, m): the classes other than y have m_k = (1 - pi) p_k.
    of_prediction = torch.expm1(log_p) * log1p(-pi) + log_p.exp() * (log_p - log_m)
    return scale * ((1 - pi) * of_prediction - pi * log_m)


@needs("other_logits")
@checked
def gjs(logits: Tensor, labels: Tensor, pi: Annotated[float, Gt(0), Lt(1)], *, other_logits: Tensor) -> Tensor:
    """Generalized Jensen-Shannon loss of the label and the predictions p, p' of two augmented views.

    scale (pi KL(e_y, m) + w KL(p, m) + w KL(p', m)), m = pi e_y + w (p + p'), w = (1 - pi) / 2: the Jensen-Shannon loss
    of the mean prediction, plus a consistency term between the two.

    Shapes: logits (B, C), labels (B,), other_logits (B, C) -> (B,), >= 0.
    Args:
        pi: the weight of the label.
    Raises:
        ValueError: pi out of range, or the two logits differ in shape.
    Source: Englesson, Azizpour 2021, arXiv:2105.04522.
    """
    scale = _scale(pi)
    if logits.shape != other_logits.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and other_logits {tuple(other_logits.shape)}: must be the same")
    views = [log_probs(logits), log_probs(other_logits)]
    weight = (1 - pi) / 2
    log_both = torch.logaddexp(*views) + log(weight)
    log_m = torch.logaddexp(log_both, at_label(log_both, labels).log() + log(pi))
    of_views = sum(((v.exp() * (v - log_m)).sum(dim=1) for v in views), start=torch.zeros_like(log_m[:, 0]))
    return scale * (weight * of_views - pi * of_label(log_m, labels))
