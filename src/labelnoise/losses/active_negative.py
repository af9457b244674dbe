"""Normalized negative losses, the passive part of the active negative loss.

A loss L has its largest value A at p = min_prob. The loss here is 1 - (A - L(y)) / sum_k (A - L(k)).

Source: Ye, Li, Dai, Liu, Sun, Tong 2023 (NeurIPS), Active Negative Loss Functions for Learning with Noisy Labels,
and the code released with it.
"""

from math import log

from torch import Tensor

from labelnoise.losses.base import in_range, log_complements, log_probs, of_label

__all__ = ["nnce", "nnfl"]


def nnce(logits: Tensor, labels: Tensor, min_prob: float = 1e-7) -> Tensor:
    """Normalized negative cross-entropy, 1 - (A + log p_y) / sum_k (A + log p_k), A = -log min_prob.

    p_k is clamped from below at min_prob, where cross-entropy has its largest value A; there the gradient is 0.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Args:
        min_prob: in (0, 0.001], below 1 / C.
    Raises:
        ValueError: min_prob out of range.
    Source: Ye et al. 2023 (NeurIPS), as released.
    """
    in_range("min_prob", min_prob, 0, 1e-3, open_low=True)
    negated = log_probs(logits).clamp(min=log(min_prob)) - log(min_prob)
    return 1 - of_label(negated, labels) / negated.sum(dim=1)


def nnfl(logits: Tensor, labels: Tensor, gamma: float, min_prob: float = 1e-7, detach: bool = False) -> Tensor:
    """Normalized negative focal loss, 1 - (A - FL_y) / sum_k (A - FL_k), A = -(1 - min_prob)^gamma log min_prob.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Args:
        gamma: >= 0; 0 is `nnce`.
        min_prob: in (0, 0.001], below 1 / C; the lower clamp of p_k.
        detach: take no gradient through the weights (1 - p_k)^gamma.
    Raises:
        ValueError: gamma or min_prob out of range.
    Source: Ye et al. 2023 (NeurIPS), as released.
    Differs: the released code detaches the weights; `detach=True` does the same.
    """
    in_range("gamma", gamma, 0)
    in_range("min_prob", min_prob, 0, 1e-3, open_low=True)
    weights = (gamma * log_complements(logits)).exp().clamp(max=(1 - min_prob) ** gamma)
    logs = log_probs(logits).clamp(min=log(min_prob))
    negated = (weights.detach() if detach else weights) * logs - (1 - min_prob) ** gamma * log(min_prob)
    return 1 - of_label(negated, labels) / negated.sum(dim=1)
