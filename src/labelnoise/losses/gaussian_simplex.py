"""Gaussian class-conditional simplex loss: the outputs of each class are to be a Gaussian at its own corner."""

from math import log

import torch
from torch import Tensor

from labelnoise.losses.base import at_label, at_least_single, in_range, needs

__all__ = ["gccs"]


@needs("batch")
def gccs(logits: Tensor, labels: Tensor, mu: float, sigma: float, lam: float) -> Tensor:
    """The mean over the batch's classes c of KL(N(m_c, S_c), N(mu e_c, sigma^2 I)) times 2, plus lam (kurtosis - 3)^2.

    m_c and S_c are mean and variances of the outputs of the batch's images of class c, e_c the standard basis, and the
    kurtosis that of each output, summed over them.

    Shapes: logits (B, C), labels (B,) -> 0-d.
    Args:
        mu: > 0, the distance of the corners. sigma: > 0. lam: >= 0.
    Raises:
        ValueError: mu, sigma or lam out of range.
    Source: a reconstruction of Ali, Migliorati, Bianchi, Magli 2020 (ICPR), arXiv:2010.15487.
    Differs: S_c is diagonal, as a batch has fewer images of a class than a full covariance takes; sigma^2 / 1000 is
        added to it, so that a class with a single image is finite.
    """
    in_range("mu", mu, 0, open_low=True)
    in_range("sigma", sigma, 0, open_low=True)
    in_range("lam", lam, 0)
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
