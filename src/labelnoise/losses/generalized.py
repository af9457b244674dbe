"""Generalized cross-entropy, between cross-entropy (q -> 0) and mean absolute error (q = 1)."""

import torch
from torch import Tensor

from labelnoise.losses.base import in_range, log_prob_of_label

__all__ = ["gce"]


def gce(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """Generalized cross-entropy, (1 - p_y^q) / q.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1/q].
    Args:
        q: in (0, 1].
    Raises:
        ValueError: q out of range.
    Source: Zhang, Sabuncu 2018, arXiv:1805.07836, equation 6.
    Differs: the released code clamps p_y at 1e-7, which removes the gradient below it; here nothing is clamped.
    """
    in_range("q", q, 0, 1, open_low=True)
    return -torch.expm1(q * log_prob_of_label(logits, labels)) / q
