"""Normalized negative losses, the passive part of the active negative loss.

A loss L has its largest value A at p = min_prob. The loss here is 1 - (A - L(y)) / sum_k (A - L(k)).

Source: Ye, Li, Dai, Liu, Sun, Tong 2023 (NeurIPS), Active Negative Loss Functions for Learning with Noisy Labels,
and the code released with it.
"""

from math import log
from typing import Annotated

from annotated_types import Ge, Gt, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_complements, log_probs, of_label

__all__ = ["nnce", "nnfl"]


@checked
def nnce(logits: Tensor, labels: Tensor, min_prob: Annotated[float, Gt(0), Le(1e-3)] = 1e-7) -> Tensor:
    """Normalized negative cross-entropy, 1 - (A + log p_y) / sum_k (A + log p_k), A = -log min_prob.

    p_k is clamped from below at min_prob, where cross-entropy has its largest value A; there the gradient is 0.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Args:
        min_prob: below 1 / C.
    Raises:
        ValueError: min_prob out of range.
    Source: Ye et al. 2023 (NeurIPS), as released.
    """
    negated = log_probs(logits).clamp(min=log(min_prob)) - log(min_prob)
    return 1 - of_label(negated, labels) / negated.sum(dim=1)


@checked
def nnfl(
    logits: Tensor,
    labels: Tensor,
    gamma: Annotated[float, Ge(0)],
    min_prob: Annotated[float, Gt(0), Le(1e-3)] = 1e-7,
    detach: bool = False,
) -> Tensor:
    """Normalized negative focal loss, 1 - (A - FL_y) / sum_k (A - FL_k), A = -(1 - min_prob)^gamma log min_prob.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Args:
        gamma: 0 is `nnce`.
        min_prob: below 1 / C; the lower clamp of p_k.
        detach: take no gradient through the weights (1 - p_k)^gamma.
    Raises:
        ValueError: gamma or min_prob out of range.
    Source: Ye et al. 2023 (NeurIPS), as released.
    Differs: the released code detaches the weights; `detach=True` does the same.
    """
    weights = (gamma * log_complements(logits)).exp().clamp(max=(1 - min_prob) ** gamma)
    logs = log_probs(logits).clamp(min=log(min_prob))
    negated = (weights.detach() if detach else weights) * logs - (1 - min_prob) ** gamma * log(min_prob)
    return 1 - of_label(negated, labels) / negated.sum(dim=1)
