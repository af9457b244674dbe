"""Gaussian class-conditional simplex loss: fits the outputs of each class to a Gaussian at that class's vertex."""

from math import log
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, at_least_single, needs

__all__ = ["gccs"]


@needs("batch")
@checked
def gccs(
    logits: Tensor,
    labels: Tensor,
    mu: Annotated[float, Gt(0)],
    sigma: Annotated[float, Gt(0)],
    lam: Annotated[float, Ge(0)],
) -> Tensor:
    """The mean over the batch's classes c of 2 KL(N(m_c, S_c), N(mu e_c, sigma^2 I)) + lam sum_k (kurtosis_k - 3)^2.

    m_c and S_c are the mean and the variances of the outputs of the batch's images of class c, e_c the standard basis,
    and kurtosis_k the kurtosis of output k.

    Shapes: logits (B, C), labels (B,) -> 0-d.
    Args:
        mu: the distance of the vertices from 0.
    Raises:
        ValueError: mu, sigma or lam out of range.
    Source: a reconstruction of Ali, Migliorati, Bianchi, Magli 2020 (ICPR), arXiv:2010.15487.
    Differs: S_c is diagonal, because a batch has too few images of a class for a full covariance; sigma^2 / 1000 is
        added to it, so that the loss is finite for a class with a single image.
    """
    z = at_least_single(logits)
    of_class = at_label(z, labels).T  # (C, B)
    count = of_class.sum(dim=1, keepdim=True)
    shares = of_class / count.clamp(min=1)
    means = shares @ z
    deviations = (z - means[labels]).square()
    variances = shares @ deviations + sigma**2 / 1000
    kurtosis = (shares @ deviations.square()) / variances.square()
    distances = means - mu * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    divergence = 2 * log(sigma) - variances.log() - 1 + (variances + distances.square()) / sigma**2
    present = (count[:, 0] > 0).to(z.dtype)
    return ((divergence + lam * (kurtosis - 3).square()).sum(dim=1) * present).sum() / present.sum()
