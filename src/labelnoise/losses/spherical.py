"""The Z-loss: a soft hinge on the label's standardised logit, invariant to shift and scale of the logits."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from labelnoise.losses.base import at_least_single, in_range, of_label

__all__ = ["z_loss"]

EPSILON = 1e-6  # added to the variance, which is 0 for equal logits


def z_loss(logits: Tensor, labels: Tensor, a: float, b: float) -> Tensor:
    """Z-loss, softplus(a (b - s_y)) / a with s_y = (z_y - mean_k z_k) / (standard deviation over k).

    s_y is at most sqrt(C - 1), so a larger b always leaves a gradient. Not the penalty on log Z of the same name.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Args:
        a: > 0, the sharpness of the hinge. b: the target of the standardised logit.
    Raises:
        ValueError: a out of range, or b not a number.
    Source: de Brebisson, Vincent 2016, arXiv:1604.08859.
    """
    in_range("a", a, 0, open_low=True)
    in_range("b", b, float("-inf"))
    z = at_least_single(logits)
    deviation = torch.sqrt(z.var(dim=1, correction=0) + EPSILON)
    return softplus(a * (b - (of_label(z, labels) - z.mean(dim=1)) / deviation)) / a
