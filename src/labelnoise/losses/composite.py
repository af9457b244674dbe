"""Comp-sum losses: a family that contains cross-entropy, generalized cross-entropy and mean absolute error."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_prob_of_label

__all__ = ["comp_sum"]


@checked
def comp_sum(logits: Tensor, labels: Tensor, tau: Annotated[float, Ge(0)]) -> Tensor:
    """Comp-sum loss, ((1 + S)^(1 - tau) - 1) / (1 - tau), log(1 + S) at tau 1, with S = sum_{k != y} exp(z_k - z_y).

    Since 1 + S = 1 / p_y, it equals (1 - p_y^q) / q with q = tau - 1. tau = 1 is cross-entropy, 1 < tau < 2 is `gce`,
    tau = 2 is half the mean absolute error, and tau >= 2 is completely asymmetric. For tau < 1 it grows exponentially
    in the logits and overflows to infinity when the label's logit is about 88 / (1 - tau) below the largest.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Raises:
        ValueError: tau out of range.
    Source: Mao, Mohri, Zhong 2023 (ICML), arXiv:2304.07288.
    """
    log_p = log_prob_of_label(logits, labels)
    return -log_p if tau == 1 else -torch.expm1((tau - 1) * log_p) / (tau - 1)
