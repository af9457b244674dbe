"""Losses made symmetric: minus the mean over the labels, so that their sum over the labels is a constant."""

import torch
from torch import Tensor

from labelnoise.arguments.ranges import Positive, checked
from labelnoise.losses.base import at_least_single, log_probs, of_label

__all__ = ["sgce", "unhinged"]


def unhinged(logits: Tensor, labels: Tensor) -> Tensor:
    """Unhinged loss, 1 - (z_y - mean_k z_k). For two classes it is 1 - v, with v half the difference of their logits.

    Cross-entropy minus its mean over the labels is -(z_y - mean_k z_k), for any number of classes: this loss minus 1.
    The sum over the labels is C. It has no lower bound and falls as the logits grow, so train it with weight decay.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Source: van Rooyen, Menon, Williamson 2015 (NeurIPS), arXiv:1505.07634, for two classes; Lemire Paquin, Chaib-draa,
        Giguere 2026, arXiv:2605.20347, for C classes, as cross-entropy made symmetric.
    """
    z = at_least_single(logits)
    return 1 - of_label(z, labels) + z.mean(dim=1)


@checked
def sgce(logits: Tensor, labels: Tensor, q: Positive) -> Tensor:
    """Symmetrised generalized cross-entropy, (mean_k p_k^q - p_y^q) / q: GCE minus its mean over the labels.

    The sum over the labels is 0. At q = 1 it is (1 - p_y) - (1 - 1/C), half of `mae` minus a constant; as q -> 0 it is
    `unhinged` minus 1.

    Shapes: logits (B, C), labels (B,) -> (B,), in [-(1 - 1/C) / q, 1/q].
    Raises:
        ValueError: q out of range.
    Source: Lemire Paquin, Chaib-draa, Giguere 2026, arXiv:2605.20347, the symmetrisation of a loss.
    Differs: the paper normalises the logits before the loss and tunes weight decay with it; here it is the loss alone.
    """
    powers = torch.expm1(q * log_probs(logits)) / q  # minus 1 of p^q, which cancels, keeps the digits of a small q
    return powers.mean(dim=1) - of_label(powers, labels)
