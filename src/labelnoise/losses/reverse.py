"""Reverse cross-entropy, which swaps prediction and label, and symmetric cross-entropy.

Source: Wang, Ma, Chen, Luo, Yi, Bailey 2019, arXiv:1908.06112.
"""

from math import log
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_complement_of_label, log_prob_of_label

__all__ = ["rce", "sce"]

LOG_ZERO = log(1e-4)  # replaces log 0, as released: -9.21; the papers have -4


@checked
def rce(logits: Tensor, labels: Tensor, A: Annotated[float, Le(0)] = LOG_ZERO) -> Tensor:
    """Reverse cross-entropy, -sum_k p_k log [k = y] = -A (1 - p_y) with log 0 = A.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, -A].
    Args:
        A: replaces log 0.
    Raises:
        ValueError: A out of range.
    Source: Wang et al. 2019, arXiv:1908.06112, equations 6 and 12.
    Differs: the released code clamps p_k at 1e-7, a change of at most 1e-6 (C - 1).
    """
    return -A * log_complement_of_label(logits, labels).exp()


@checked
def sce(
    logits: Tensor,
    labels: Tensor,
    alpha: Annotated[float, Ge(0)],
    beta: Annotated[float, Ge(0)],
    A: Annotated[float, Le(0)] = LOG_ZERO,
) -> Tensor:
    """Symmetric cross-entropy, alpha CE + beta RCE.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Args:
        A: replaces log 0.
    Raises:
        ValueError: alpha, beta or A out of range.
    Source: Wang et al. 2019, arXiv:1908.06112, equation 7.
    """
    return -alpha * log_prob_of_label(logits, labels) + beta * rce(logits, labels, A)
