"""Mean absolute error between the one-hot label and the prediction."""

from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_complement_of_label

__all__ = ["mae"]


@checked
def mae(logits: Tensor, labels: Tensor, scale: Annotated[float, Gt(0)] = 2.0) -> Tensor:
    """Mean absolute error, sum_k |p_k - [k = y]| = 2 (1 - p_y).

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, scale].
    Args:
        scale: 2 by definition, 1 in the released sums with NCE and NFL.
    Raises:
        ValueError: scale out of range.
    Source: Ghosh, Kumar, Sastry 2017, arXiv:1712.09482, section 3.
    """
    return scale * log_complement_of_label(logits, labels).exp()
