"""Normalized losses: any loss divided by its sum over all labels, which makes it symmetric and robust.

Source: Ma, Huang, Wang, Romano, Erfani, Bailey 2020, arXiv:2006.13554, equation 4.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_complements, log_probs, of_label

__all__ = ["nce", "nfl", "ngce"]


def nce(logits: Tensor, labels: Tensor) -> Tensor:
    """Normalized cross-entropy, log p_y / sum_k log p_k.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Source: Ma et al. 2020, arXiv:2006.13554, section 3.1.
    """
    logs = log_probs(logits)
    return of_label(logs, labels) / logs.sum(dim=1)


@checked
def nfl(logits: Tensor, labels: Tensor, gamma: Annotated[float, Ge(0)], detach: bool = False) -> Tensor:
    """Normalized focal loss, (1 - p_y)^gamma log p_y / sum_k (1 - p_k)^gamma log p_k.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Args:
        gamma: 0 is normalized cross-entropy.
        detach: take no gradient through the weights (1 - p_k)^gamma.
    Raises:
        ValueError: gamma out of range.
    Source: Ma et al. 2020, arXiv:2006.13554, section 3.1.
    Differs: the code released with zhou2021 detaches the weights; `detach=True` does the same.
    """
    weights = (gamma * log_complements(logits)).exp()
    focal = (weights.detach() if detach else weights) * log_probs(logits)
    return of_label(focal, labels) / focal.sum(dim=1)


@checked
def ngce(logits: Tensor, labels: Tensor, q: Annotated[float, Gt(0), Le(1)]) -> Tensor:
    """Normalized generalized cross-entropy, (1 - p_y^q) / (C - sum_k p_k^q).

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 1].
    Raises:
        ValueError: q out of range.
    Source: Ma et al. 2020, arXiv:2006.13554, equation 4 applied to generalized cross-entropy.
    Differs: the released code clamps p_k at 1e-7; here nothing is clamped.
    """
    values = -torch.expm1(q * log_probs(logits))
    return of_label(values, labels) / values.sum(dim=1)
