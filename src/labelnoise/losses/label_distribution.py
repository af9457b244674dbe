"""The label-distributionally robust loss: the worst weighting of the margins within a Kullback-Leibler ball."""

from math import log
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import softplus

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, at_least_single, of_label

__all__ = ["ldr_kl"]


def _softplus_normalised(logits: Tensor) -> Tensor:
    """softplus(z_k) divided by its mean over the classes, in log space: finite where every softplus underflows."""
    logs = torch.where(logits < -30, logits, softplus(logits.clamp(min=-30)).log())
    return logits.shape[1] * logs.softmax(dim=1)


@checked
def ldr_kl(
    logits: Tensor,
    labels: Tensor,
    lam: Annotated[float, Gt(0)],
    margin: Annotated[float, Ge(0)],
    normalize: bool = True,
) -> Tensor:
    """LDR-KL, lam log((1/C) sum_k exp((z_k - z_y + margin [k != y]) / lam)).

    The closed form of max over q of sum_k q_k (z_k - z_y + margin [k != y]) - lam KL(q, 1/C). With lam 1, margin 0 and
    normalize=False it is cross-entropy minus log C. As lam grows it tends to the mean of the margins, which is
    symmetric. It may be negative.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Args:
        normalize: replace z by softplus(z) divided by its mean over the classes, as the released code does.
    Raises:
        ValueError: lam or margin out of range.
    Source: Zhu, Ying, Yang 2023 (ICML), Label Distributionally Robust Losses for Multi-class Classification.
    """
    z = _softplus_normalised(at_least_single(logits)) if normalize else at_least_single(logits)
    margins = z - of_label(z, labels)[:, None] + margin * (1 - at_label(z, labels))
    return lam * ((margins / lam).logsumexp(dim=1) - log(z.shape[1]))
