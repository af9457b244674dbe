"""Schedules: the factor on the optimizer's learning rate in an epoch. Pure functions of `(epoch from 0, epochs)`."""

from collections.abc import Sequence
from math import cos, pi
from typing import Annotated

from annotated_types import Ge

from labelnoise.arguments.ranges import checked


def cosine(epoch: int, epochs: int) -> float:
    """(1 + cos(pi epoch / epochs)) / 2: from 1 towards 0, stepped once an epoch, no warm-up.

    Source: Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 with one cycle.
    """
    return (1 + cos(pi * epoch / epochs)) / 2


def constant(epoch: int, epochs: int) -> float:
    """1 throughout."""
    return 1.0


@checked
def multistep(
    epoch: int, epochs: int, milestones: Sequence[Annotated[int, Ge(1)]], gamma: Annotated[float, Ge(0)]
) -> float:
    """gamma to the number of milestones passed; an epoch counts from 0, so milestone 60 is the 61st epoch's start.

    Raises:
        ValueError: gamma below 0, or a milestone that is no whole number above 0.
    """
    return gamma ** sum(epoch >= milestone for milestone in milestones)
