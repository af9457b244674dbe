"""Taylor cross-entropy: a truncated series between mean absolute error and cross-entropy."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_complement_of_label

__all__ = ["taylor_ce"]


@checked
def taylor_ce(logits: Tensor, labels: Tensor, t: Annotated[int, Ge(1)]) -> Tensor:
    """Taylor cross-entropy, sum of (1 - p_y)^i / i for i = 1 to t.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, sum of 1/i].
    Args:
        t: number of terms; 1 is half the mean absolute error, infinity is cross-entropy.
    Raises:
        ValueError: t out of range.
    Source: Feng, Shu, Lin, Lv, Li, An 2020 (IJCAI), Can Cross Entropy Loss Be Robust to Label Noise?
    """
    complement = log_complement_of_label(logits, labels).exp()
    return sum((complement**i / i for i in range(2, t + 1)), start=complement)
