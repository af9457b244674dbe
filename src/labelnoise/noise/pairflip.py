"""Pair-flip noise: class c becomes class c + 1."""

import numpy as np
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.noise.base import Facts, Rate, flip_exactly, known_truth


@checked
def pairflip(facts: Facts, seed: int, rate: Rate) -> Tensor:
    """round(rate * n) of each class's n images get the next class's label; the last class gets the first's.

    In small classes the counts differ from round(rate * n) by less than one, so that in all `rate` of the labels are
    wrong.

    Shapes: -> (N,), int64.
    Args:
        rate: fraction of wrong labels, 0 to 1.
    Raises:
        ValueError: rate out of range.
    Source: Han et al. 2018 (Co-teaching), arXiv:1804.06872, appendix A.
    """
    classes = facts.num_classes
    return flip_exactly(known_truth(facts), rate, classes, np.random.RandomState(seed), lambda c, n: (c + 1) % classes)
