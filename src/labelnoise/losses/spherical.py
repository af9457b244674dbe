"""The Z-loss: a soft hinge on the label's standardised logit, invariant to shift and scale of the logits."""

from math import inf
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import softplus

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_least_single, of_label

__all__ = ["z_loss"]

EPSILON = 1e-6  # added to the variance, which is 0 for equal logits


@checked
def z_loss(
    logits: Tensor, labels: Tensor, a: Annotated[float, Gt(0)], b: Annotated[float, Ge(-inf), "a number"]
) -> Tensor:
    """Z-loss, softplus(a (b - s_y)) / a with s_y = (z_y - mean_k z_k) / (standard deviation over k).

    s_y is at most sqrt(C - 1), so a larger b always leaves a gradient. Not the penalty on log Z of the same name.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Args:
        a: the sharpness of the hinge. b: the target of the standardised logit.
    Raises:
        ValueError: a out of range, or b not a number.
    Source: de Brebisson, Vincent 2016, arXiv:1604.08859.
    """
    z = at_least_single(logits)
    deviation = torch.sqrt(z.var(dim=1, correction=0) + EPSILON)
    return softplus(a * (b - (of_label(z, labels) - z.mean(dim=1)) / deviation)) / a
