"""Imprecise labels: the label of a group of classes instead of that of the class."""

import numpy as np
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.class_tree import parents
from labelnoise.noise.base import Expected, Facts, Rate, flip_exactly, known_truth


@checked
def imprecise(facts: Facts, seed: int, rate: Rate) -> Tensor:
    """round(rate * n) of each class's n images get the label of their class's parent in `losses.class_tree`.

    That is the superclass where the data set has superclasses, as CIFAR-100, and else the root, which says nothing. No
    label is wrong. In small classes the counts differ by less than one, so that in all `rate` are imprecise.

    Shapes: -> (N,), int64; a label of C or above is a node that is no class. Only methods that declare `imprecise` get
    such labels.
    Args:
        rate: fraction of imprecise labels, 0 to 1.
    Raises:
        ValueError: rate out of range.
    Source: Deng et al. 2014 (ECCV), as Brust, Barz, Denzler 2021 (ICPR 2020) use it: a share of the labels is replaced
        by their parents.
    Differs: their code draws for each image by itself; here the share is exact in each class.
    """
    random, parent = np.random.RandomState(seed), parents(facts.num_classes, getattr(facts, "superclass", None))
    return flip_exactly(known_truth(facts), rate, facts.num_classes, random, lambda c, n: int(parent[c]))


imprecise.imprecise = True  # type: ignore[attr-defined]  # read by `experiment.imprecise` and `noise.apply`
imprecise.expected = lambda facts, rate: Expected(0)  # type: ignore[attr-defined]  # none of the labels is wrong
