"""Symmetric (uniform) noise: a wrong label is uniform over the other classes."""

import numpy as np
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.noise.base import Facts, Rate, flip_exactly, known_truth


@checked
def symmetric(facts: Facts, seed: int, rate: Rate) -> Tensor:
    """round(rate * n) of each class's n images get a label drawn uniformly from the other classes.

    In small classes the counts differ from round(rate * n) by less than one, so that in all `rate` of the labels are
    wrong.

    Shapes: -> (N,), int64.
    Args:
        rate: fraction of wrong labels, 0 to 1.
    Raises:
        ValueError: rate out of range.
    Source: the usual definition, "symmetric, true class excluded" (Ma et al. 2020, arXiv:2006.13554, section 4.1).
    """
    random, classes = np.random.RandomState(seed), facts.num_classes
    return flip_exactly(
        known_truth(facts), rate, classes, random, lambda c, n: (c + random.randint(1, classes, n)) % classes
    )
