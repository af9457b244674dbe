"""Focal loss: cross-entropy with less weight on well-classified images."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_complement_of_label, log_prob_of_label

__all__ = ["focal"]


@checked
def focal(logits: Tensor, labels: Tensor, gamma: Annotated[float, Ge(0)], detach: bool = False) -> Tensor:
    """Focal loss, -(1 - p_y)^gamma log p_y.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Args:
        gamma: 0 is cross-entropy.
        detach: take no gradient through the weight (1 - p_y)^gamma.
    Raises:
        ValueError: gamma out of range.
    Source: Lin, Goyal, Girshick, He, Dollar 2017, arXiv:1708.02002, equation 4.
    Differs: the code released with zhou2021 detaches the weight; `detach=True` does the same.
    """
    weight = (gamma * log_complement_of_label(logits, labels)).exp()
    return -(weight.detach() if detach else weight) * log_prob_of_label(logits, labels)
