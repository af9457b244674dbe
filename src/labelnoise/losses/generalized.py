"""Generalized cross-entropy, between cross-entropy (q -> 0) and mean absolute error (q = 1)."""

from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_prob_of_label

__all__ = ["gce"]


@checked
def gce(logits: Tensor, labels: Tensor, q: Annotated[float, Gt(0), Le(1)]) -> Tensor:
    """Generalized cross-entropy, (1 - p_y^q) / q.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1/q].
    Raises:
        ValueError: q out of range.
    Source: Zhang, Sabuncu 2018, arXiv:1805.07836, equation 6.
    Differs: the released code clamps p_y at 1e-7, which removes the gradient below it; here nothing is clamped.
    """
    return -torch.expm1(q * log_prob_of_label(logits, labels)) / q
