"""A mixture of two Gaussian distributions of the losses: how likely each label is right."""

import warnings

import torch
from torch import Tensor


def clean_probability(losses: Tensor) -> Tensor:
    """The probability that each loss belongs to the mixture component with the smaller mean.

    A Gaussian mixture of two components is fitted to the losses, scaled to [0, 1]. If all losses are equal, it is 1.
    Shapes: (N,) -> (N,). Computed on the host.
    Source: Li, Socher, Hoi 2020, section 3.1; iterations, tolerance and covariance floor as in the released code.
    """
    from sklearn.mixture import GaussianMixture

    scaled = losses.double().cpu()
    low, high = scaled.min(), scaled.max()
    if not high > low:
        return torch.ones_like(losses)
    values = ((scaled - low) / (high - low)).numpy()[:, None]
    mixture = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten iterations need not converge
        clean = mixture.fit(values).predict_proba(values)[:, mixture.means_.argmin()]
    return torch.from_numpy(clean).to(losses)
