"""Part-dependent instance noise: whether and how an image is mislabelled depends on the image."""

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import truncnorm
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.noise.base import Facts, drawn, known_truth

SPREAD = 0.1  # standard deviation of the images' noise rates


@checked
def instance(facts: Facts, seed: int, rate: Annotated[float, Ge(0.05), Le(0.9)]) -> Tensor:
    """The label of image i of class y is wrong with probability q_i, and is then class k with softmax(x_i W_y)_k.

    q_i follows a normal distribution with standard deviation 0.1, truncated to [0, 1] and located so that its mean is
    `rate`. x_i are the pixels in [0, 1], or the columns of vectors, each scaled to [0, 1]. W_y (pixels x classes), one
    for each class, is standard normal. The softmax is over the classes other than y.

    Shapes: -> (N,), int64.
    Args:
        rate: mean fraction of wrong labels, 0.05 to 0.9.
    Raises:
        ValueError: rate out of range.
    Source: Xia et al. 2020, arXiv:2006.07836, algorithm 2.
    Differs: in the paper truncation shifts the mean of q away from the rate; here the mean is exactly `rate`.
    """
    random = np.random.RandomState(seed)
    true_labels, classes = known_truth(facts).numpy(), facts.num_classes
    q = _image_rates(rate, random.random_sample(len(true_labels)))
    wrong = random.random_sample(len(true_labels)) < q
    which = random.random_sample(len(true_labels))
    pixels, lowest, range_of = _inputs(facts.train_images.flatten(1))
    labels = true_labels.copy()
    for y in range(classes):
        W = random.standard_normal((pixels.shape[1], classes))
        members = np.flatnonzero(wrong & (true_labels == y))
        scores = (pixels[members].astype(np.float64) - lowest) / range_of @ W
        scores[:, y] = -np.inf
        # Inverse-CDF draw: the first class at which the cumulative probability exceeds a uniform number. Class y has
        # probability 0 and is never drawn. If rounding leaves the sum below the number, the last other class is taken.
        cumulative = softmax(scores, axis=1).cumsum(axis=1)
        draw = (cumulative <= which[members, None]).sum(axis=1)
        labels[members] = np.minimum(draw, classes - 1 - (y == classes - 1))
    return torch.from_numpy(labels)


instance.expected = drawn  # type: ignore[attr-defined]  # read by `labelnoise.experiment.notices`


def _inputs(images: Tensor) -> tuple[np.ndarray, Any, Any]:
    """Pixels or vectors (N, D), and what scales them to [0, 1]: the least value and the range."""
    if images.dtype == torch.uint8:
        return images.numpy(), 0, 255
    lowest, highest = images.amin(dim=0).double(), images.amax(dim=0).double()
    return images.float().numpy(), lowest.numpy(), (highest - lowest).clamp_min(1e-30).numpy()


def _image_rates(rate: float, uniform: np.ndarray) -> np.ndarray:
    """Inverse-CDF draws (N,) from the truncated normal with mean `rate`."""

    def truncated(location: float) -> Any:
        return truncnorm((0 - location) / SPREAD, (1 - location) / SPREAD, loc=location, scale=SPREAD)

    location = brentq(lambda m: truncated(m).mean() - rate, rate - 2, rate + 2)
    return truncated(location).ppf(uniform)
