"""A mixture of two Beta distributions of the losses: how likely each label is wrong."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = NDArray[np.float64]

ITERATIONS = 10
SMALLEST = 1e-12  # of a density
SHIFT = 1e-5  # of the lower percentile
OUTSIDE = 1e-3  # replaces a scaled loss that is outside (0, 1), by its distance from the end
MARGIN = 1e-4  # least distance from the ends in the fit
STEPS = 100  # in which the posterior is tabulated


class BetaMixture(NamedTuple):
    """Attributes: a, b, weight: (2,) each; the second component starts as that of the larger values."""

    a: Values
    b: Values
    weight: Values

    def densities(self, values: Values) -> Values:
        """Each component's weight times its density. Shapes: (N,) -> (2, N)."""
        from scipy.stats import beta

        return self.weight[:, None] * beta.pdf(values, self.a[:, None], self.b[:, None])

    def posterior(self, values: Values) -> Values:
        """The probability of the second component. Shapes: (N,) -> (N,)."""
        densities = self.densities(values)
        return densities[1] / (densities.sum(axis=0) + SMALLEST)


def fit_beta_mixture(values: Values, iterations: int = ITERATIONS) -> BetaMixture:
    """EM whose M step matches weighted means and variances.

    Args:
        values: (N,), in (0, 1).
        iterations: the released code's ten are too few to converge, but enough to tell small losses from large ones.
    Source: Arazo et al. 2019, arXiv:1904.11238, section 3.1, with first values and floors as in the released code.
    """
    mixture = BetaMixture(np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5]))
    for _ in range(iterations):
        shares = np.maximum(mixture.densities(values), SMALLEST)
        shares /= shares.sum(axis=0)
        total = shares.sum(axis=1)
        mean = (shares * values).sum(axis=1) / total
        variance = (shares * (values - mean[:, None]) ** 2).sum(axis=1) / total
        a = mean * (mean * (1 - mean) / np.maximum(variance, SMALLEST) - 1)
        mixture = BetaMixture(a, a * (1 - mean) / mean, total / total.sum())
    return mixture


def wrong_probability(losses: Tensor) -> Tensor:
    """The probability that each loss belongs to the mixture component of the larger losses.

    The mixture is fitted to the losses between their 5th and 95th percentile, scaled to (0, 1). Its posterior is
    tabulated, and does not fall again after its maximum. If these percentiles are 1e-5 apart or less, it is 0.
    Shapes: (N,) -> (N,). Computed on the host.
    Source: Ortego et al. 2020, arXiv:1912.08741, section 3.2, as in the released code.
    """
    raw = losses.double().cpu().numpy()
    low, high = np.percentile(raw, [5, 95])
    if not high - low > SHIFT:
        return torch.zeros_like(losses)
    scaled = (raw - low - SHIFT) / (high - low - SHIFT + 1e-6)
    scaled[scaled <= 0], scaled[scaled >= 1] = OUTSIDE, 1 - OUTSIDE
    mixture = fit_beta_mixture(np.clip(scaled[(raw >= low) & (raw <= high)], MARGIN, 1 - MARGIN))
    table = mixture.posterior(np.linspace(SMALLEST, 1 - SMALLEST, STEPS))
    table[table.argmax() :] = table.max()
    return torch.from_numpy(table[(STEPS * scaled).astype(int)]).to(losses)
