"""Schedules: the factor on the optimizer's learning rate, pure functions of `(epoch from 0, epochs)`."""

from collections.abc import Sequence
from math import cos, pi
from typing import Annotated

from annotated_types import Ge, Le, Lt

from labelnoise.arguments.ranges import checked


def cosine(epoch: int, epochs: int) -> float:
    """(1 + cos(pi epoch / epochs)) / 2: from 1 towards 0, updated once an epoch, no warm-up.

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
    """gamma to the power of the milestones passed. Epochs count from 0: milestone 60 is the start of the 61st epoch.

    Raises:
        ValueError: gamma is below 0, or a milestone is not a whole number of at least 1.
    """
    return gamma ** sum(epoch >= milestone for milestone in milestones)


@checked
def linear(epoch: int, epochs: int, start: Annotated[float, Ge(0), Lt(1)]) -> float:
    """1 until a fraction `start` of the run, then linear to 0 at its end.

    Raises:
        ValueError: start out of range.
    Source: the released code of Han et al. 2018, arXiv:1804.06872, with start = 80 of 200 epochs.
    """
    return min(1.0, (epochs - epoch) / ((1 - start) * epochs))


@checked
def step(epoch: int, epochs: int, every: Annotated[int, Ge(1)], gamma: Annotated[float, Ge(0)]) -> float:
    """gamma^(epoch // every).

    Raises:
        ValueError: every below 1 or gamma below 0.
    """
    return gamma ** (epoch // every)


@checked
def cosine_restarts(
    epoch: int, epochs: int, period: Annotated[int, Ge(1)], lowest: Annotated[float, Ge(0), Le(1)]
) -> float:
    """Half a cosine from 1 towards `lowest`, from the start again every `period` epochs.

    Raises:
        ValueError: period below 1 or lowest out of range.
    Source: Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 with cycles of the same length.
    """
    return lowest + (1 - lowest) * (1 + cos(pi * (epoch % period) / period)) / 2
