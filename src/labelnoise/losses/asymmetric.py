"""Asymmetric losses: robust wherever the true label is the most likely one (clean-label-dominant noise).

They are computed from log p_y and log(1 - p_y), so value and gradient stay finite at saturated logits for all
hyper-parameters.

Source: Zhou, Liu, Jiang, Gao, Ji 2021, arXiv:2106.03110, section 3.3, and the code released with it.
"""

from math import inf, log
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, log_complement_of_label, log_prob_of_label, log_probs

__all__ = ["ael", "agce", "anorm", "aul"]


def _log_sum(offset: float, log_term: Tensor) -> Tensor:
    """log(offset + exp(log_term)); the gradient is finite at offset 0 too."""
    return torch.logaddexp(log_term.new_full((), log(offset) if offset > 0 else -inf), log_term)


@checked
def agce(logits: Tensor, labels: Tensor, a: Annotated[float, Ge(0)], q: Annotated[float, Gt(0)]) -> Tensor:
    """Asymmetric generalized cross-entropy, ((a + 1)^q - (a + p_y)^q) / q.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Raises:
        ValueError: a or q out of range.
    Source: Zhou et al. 2021, arXiv:2106.03110, definition of AGCE.
    """
    return ((a + 1) ** q - (q * _log_sum(a, log_prob_of_label(logits, labels))).exp()) / q


@checked
def aul(logits: Tensor, labels: Tensor, a: Annotated[float, Ge(1)], q: Annotated[float, Gt(0)]) -> Tensor:
    """Asymmetric unhinged loss, ((a - p_y)^q - (a - 1)^q) / q.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Args:
        q: called q as in the released code; p in the paper.
    Raises:
        ValueError: a or q out of range.
    Source: Zhou et al. 2021, arXiv:2106.03110, definition of AUL.
    """
    return ((q * _log_sum(a - 1, log_complement_of_label(logits, labels))).exp() - (a - 1) ** q) / q


@checked
def ael(logits: Tensor, labels: Tensor, a: Annotated[float, Gt(0)]) -> Tensor:
    """Asymmetric exponential loss, exp(-p_y / a).

    Shapes: logits (B, C), labels (B,) -> (B,), in [exp(-1/a), 1].
    Raises:
        ValueError: a out of range.
    Source: Zhou et al. 2021, arXiv:2106.03110, definition of AEL.
    """
    return (-log_prob_of_label(logits, labels).exp() / a).exp()


@checked
def anorm(logits: Tensor, labels: Tensor, a: Annotated[float, Ge(1)], p: Annotated[float, Gt(0)]) -> Tensor:
    """Asymmetric norm loss, (sum_k |a [k = y] - p_k|^p - (a - 1)^p) / p.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Args:
        p: completely asymmetric for p <= 1.
    Raises:
        ValueError: a or p out of range.
    Source: the code released with Zhou et al. 2021, arXiv:2106.03110; the paper does not mention this loss.
    Differs: the released code clamps p_k at 1e-5; here nothing is clamped.
    """
    logs = log_probs(logits)
    others = (p * logs).exp() * (1 - at_label(logs, labels))
    own = (p * _log_sum(a - 1, log_complement_of_label(logits, labels))).exp()
    return (others.sum(dim=1) + own - (a - 1) ** p) / p
