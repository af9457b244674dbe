"""Mean absolute error between the one-hot label and the prediction."""

from torch import Tensor

from labelnoise.losses.base import in_range, log_complement_of_label

__all__ = ["mae"]


def mae(logits: Tensor, labels: Tensor, scale: float = 2.0) -> Tensor:
    """Mean absolute error, sum_k |p_k - [k = y]| = 2 (1 - p_y).

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, scale].
    Args:
        scale: > 0; 2 by definition, 1 in the released sums with NCE and NFL.
    Raises:
        ValueError: scale out of range.
    Source: Ghosh, Kumar, Sastry 2017, arXiv:1712.09482, section 3.
    """
    in_range("scale", scale, 0, open_low=True)
    return scale * log_complement_of_label(logits, labels).exp()
