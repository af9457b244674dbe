"""Squared errors: mean squared error, and the asymmetric one, whose target exceeds 1 at the label."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, log_probs

__all__ = ["amse", "mse"]


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error (the Brier score), sum_k (p_k - [k = y])^2.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 2].
    Source: Ghosh, Kumar, Sastry 2017, arXiv:1712.09482, section 3.
    Differs: released code averages over the C classes, a factor of 1/C.
    """
    logs = log_probs(logits)
    return (logs.exp() - at_label(logs, labels)).square().sum(dim=1)


@checked
def amse(logits: Tensor, labels: Tensor, a: Annotated[float, Ge(1)]) -> Tensor:
    """Asymmetric mean squared error, the mean over k of (p_k - a [k = y])^2.

    Asymmetric if a (w_m - w_n) >= 1 for the two largest label probabilities w_m > w_n: their difference matters, not
    their ratio.

    Shapes: logits (B, C), labels (B,) -> (B,), >= (a - 1)^2 / C.
    Args:
        a: 1 is `mse` / C.
    Raises:
        ValueError: a out of range.
    Source: Wang, Liu, Zhou, Hu, Zhai, Jiang, Ji 2025 (ICCV), arXiv:2507.17692; the mean is that of the released code.
    """
    logs = log_probs(logits)
    return (logs.exp() - a * at_label(logs, labels)).square().mean(dim=1)
