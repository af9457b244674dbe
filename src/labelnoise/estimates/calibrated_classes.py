"""Gaussian distributions of the classes' features under label noise and a long tail."""

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 20  # of the local outlier factor, scikit-learn's default
INLYING = -1.5  # as scikit-learn's contamination="auto"


class Classes(NamedTuple):
    """Attributes: means (C, D); covariances (C, D, D), positive definite."""

    means: Tensor
    covariances: Tensor


def local_outlier_factors(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The negated local outlier factor of each image among those of its label: about -1, less for outliers.

    Computed on the host. Shapes: (N, D), (N,) -> (N,).
    Source: Breunig, Kriegel, Ng, Sander 2000, as in scikit-learn.
    """
    from sklearn.neighbors import LocalOutlierFactor

    found = torch.full((len(labels),), -1.0, dtype=torch.float64)
    points = features.double().cpu().numpy()
    for label in range(num_classes):
        index = (labels == label).nonzero().squeeze(1).cpu()
        if len(index) > 2:  # no density of fewer
            known = LocalOutlierFactor(n_neighbors=min(NEIGHBOURS, len(index) - 1)).fit(points[index.numpy()])
            found[index] = torch.from_numpy(known.negative_outlier_factor_)
    return found.to(features)


def calibrated_classes(
    features: Tensor, labels: Tensor, inlying: Tensor, num_classes: int, nearest: int, own: float, spread: float
) -> Classes:
    """Means and covariances of each label's inlying images, those of tail classes drawn to the nearest head classes.

    A tail class has fewer than half as many images as the largest class. Its mean and covariance become
    own (m_k, S_k) + (1 - own) sum_c w_c (m_c, S_c), over the `nearest` head classes c with the closest means, with
    w_c ~ n_c exp(-|m_k - m_c|). Every covariance then gets `spread` times its mean variance on the diagonal.

    Shapes: (N, D), (N,), (N,) bool.
    Args:
        own: 0 to 1; 0 for a class without images.
        spread: > 0.
    Source: Zhang et al. 2023 (ICCV), arXiv:2211.10955, distribution calibration. Reconstruction: what a tail class is,
        and the spread, are ours.
    """
    features = features.double()
    counts = labels.bincount(minlength=num_classes)
    means, covariances = [], []
    for label in range(num_classes):
        known = features[(labels == label) & inlying]
        mean = known.mean(dim=0) if len(known) else features.mean(dim=0)
        centred = known - mean
        means.append(mean)
        covariances.append(centred.T @ centred / max(len(known), 1))
    m, s = torch.stack(means), torch.stack(covariances)
    tail = counts < counts.max() / 2
    heads = (~tail).nonzero().squeeze(1)
    new_m, new_s = m.clone(), s.clone()
    for label in tail.nonzero().squeeze(1).tolist():
        far = torch.linalg.vector_norm(m[heads] - m[label], dim=1)
        near = far.topk(min(nearest, len(heads)), largest=False).indices
        weights = (counts[heads[near]].double().log() - far[near]).softmax(dim=0)
        share = own if counts[label] else 0.0
        new_m[label] = share * m[label] + (1 - share) * torch.einsum("c,cd->d", weights, m[heads[near]])
        new_s[label] = share * s[label] + (1 - share) * torch.einsum("c,cde->de", weights, s[heads[near]])
    variance = new_s.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    new_s.diagonal(dim1=1, dim2=2).add_(spread * variance[:, None])
    return Classes(new_m, new_s)
