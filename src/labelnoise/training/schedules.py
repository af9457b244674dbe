"""Schedules: the factor on the optimizer's learning rate in an epoch. Pure functions of `(epoch from 0, epochs)`."""

from collections.abc import Sequence
from math import cos, pi


def cosine(epoch: int, epochs: int) -> float:
    """(1 + cos(pi epoch / epochs)) / 2: from 1 towards 0, stepped once an epoch, no warm-up.

    Source: Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 with one cycle.
    """
    return (1 + cos(pi * epoch / epochs)) / 2


def constant(epoch: int, epochs: int) -> float:
    """1 throughout."""
    return 1.0


def multistep(epoch: int, epochs: int, milestones: Sequence[int], gamma: float) -> float:
    """gamma to the number of milestones passed; an epoch counts from 0, so milestone 60 is the 61st epoch's start."""
    return gamma ** sum(epoch >= milestone for milestone in milestones)
