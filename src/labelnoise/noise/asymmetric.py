"""Asymmetric (class-dependent) noise: a class is mistaken for a similar one."""

import numpy as np
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.noise.base import Expected, Facts, Rate, flip_exactly, known_truth


@checked
def asymmetric(facts: Facts, seed: int, rate: Rate) -> Tensor:
    """round(rate * n) of each class's n images, by true label, get the label of the class it is mistaken for.

    In small classes the counts differ from round(rate * n) by less than one, so that in all `rate` of these are wrong.

    Shapes: -> (N,), int64.
    Args:
        rate: fraction of wrong labels within each class that is mistaken for another, 0 to 1.
    Raises:
        ValueError: rate out of range, or no such pairs are known for the data set.
    Source: Patrini et al. 2017, arXiv:1609.03683, section 5, which names the pairs of MNIST and CIFAR-10 and, on
        CIFAR-100, the next class within each superclass.
    Differs: widely used code flips CIFAR-10's classes one after the other on already flipped labels, and CIFAR-100's
        within alphabetical blocks of five; `asym_zhou2021` reproduces that.
    """
    if facts.mistaken_for is None:
        raise ValueError(f"noise=asym: {facts.name} has no published asymmetric pairs; use sym, pairflip or instance")
    mistaken_for = facts.mistaken_for.numpy()
    moving = mistaken_for != np.arange(facts.num_classes)
    return flip_exactly(
        known_truth(facts), rate, facts.num_classes, np.random.RandomState(seed), lambda c, n: mistaken_for[c], moving
    )


def expected(facts: Facts, rate: float) -> Expected:
    """`rate` of the images of the classes that are mistaken for another."""
    assert facts.mistaken_for is not None
    truth = known_truth(facts)
    return Expected(rate * int((facts.mistaken_for[truth] != truth).sum()))


asymmetric.expected = expected  # type: ignore[attr-defined]  # read by `labelnoise.experiment.notices`
