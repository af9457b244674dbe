"""Comp-sum losses: one family with cross-entropy, generalized cross-entropy and mean absolute error in it."""

import torch
from torch import Tensor

from labelnoise.losses.base import in_range, log_prob_of_label

__all__ = ["comp_sum"]


def comp_sum(logits: Tensor, labels: Tensor, tau: float) -> Tensor:
    """Comp-sum loss, ((1 + S)^(1 - tau) - 1) / (1 - tau), log(1 + S) at tau 1, with S = sum_{k != y} exp(z_k - z_y).

    As 1 + S = 1 / p_y it is (1 - p_y^q) / q with q = tau - 1: cross-entropy at tau 1, `gce` between 1 and 2, half the
    mean absolute error at 2, completely asymmetric from there on. Below 1 it grows exponentially in the logits, and
    is infinite where the label's is some 88 / (1 - tau) below the largest.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Args:
        tau: >= 0.
    Raises:
        ValueError: tau out of range.
    Source: Mao, Mohri, Zhong 2023 (ICML), arXiv:2304.07288.
    """
    in_range("tau", tau, 0)
    log_p = log_prob_of_label(logits, labels)
    return -log_p if tau == 1 else -torch.expm1((tau - 1) * log_p) / (tau - 1)
