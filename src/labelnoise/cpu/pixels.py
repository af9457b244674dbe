"""What the kernels do with one pixel or one 2x2 window: reading, rounding, the largest value.

Fast-math is limited to flags that preserve NaN and inf, because a diverged run must be noticed.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

MEAN, SCALE, SHIFT, INVSTD, BY_GRAD, BY_INPUT, CONSTANT = range(7)
OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "fastmath": {"contract", "arcp", "nsz"}}


def load(value: Any) -> Any:
    """A number read from an array of pixels, as float32; bfloat16 arrives as its bits."""


@overload(load, strict=False)
def _load_of(value: Any) -> Any:
    if value == types.uint16:  # the outer cast keeps 32 bits: Numba widens shifts to 64
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


def store(array: Any, row: int, c: int, value: Any) -> None:
    """Write a float32 number to array[row, c], rounded to nearest where the array holds bfloat16's bits."""


@overload(store, strict=False)
def _store_in(array: Any, row: int, c: int, value: Any) -> Any:
    def rounded(array: Any, row: int, c: int, value: Any) -> None:  # to nearest, ties to even; NaN stays NaN
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        nearest = np.uint32(np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + odd) >> np.uint32(16))
        array[row, c] = np.uint16(nearest if value == value else np.uint32(0x7FC0))

    def plain(array: Any, row: int, c: int, value: Any) -> None:
        array[row, c] = value

    return rounded if array.dtype == types.uint16 else plain


@njit(cache=True, fastmath=OPTIONS["fastmath"])
def largest(x: Any, a: int, width: int, c: int, table: Any) -> Any:
    """For the 2x2 window at row `a`: the largest normalised value, its x - mean, and the first of the four to have it.

    A NaN wins and stays, as in torch. A function of its own, because returned values compile to vectorised selects.
    """
    mean, scale, shift = table[MEAN, c], table[SCALE, c], table[SHIFT, c]
    best = load(x[a, c]) - mean
    best_y, winner = best * scale + shift, np.uint32(0)
    value = load(x[a + 1, c]) - mean
    y = value * scale + shift
    keep = y <= best_y or best_y != best_y
    best, best_y, winner = best if keep else value, best_y if keep else y, winner if keep else np.uint32(1)
    value = load(x[a + width, c]) - mean
    y = value * scale + shift
    keep = y <= best_y or best_y != best_y
    best, best_y, winner = best if keep else value, best_y if keep else y, winner if keep else np.uint32(2)
    value = load(x[a + width + 1, c]) - mean
    y = value * scale + shift
    keep = y <= best_y or best_y != best_y
    best, best_y, winner = best if keep else value, best_y if keep else y, winner if keep else np.uint32(3)
    return best_y, best, winner


@njit(cache=True, fastmath=OPTIONS["fastmath"])
def without_grad(x: Any, table: Any, row: int, c: int) -> Any:
    """The part of dx that comes through the mean and the variance."""
    return (load(x[row, c]) - table[MEAN, c]) * table[BY_INPUT, c] + table[CONSTANT, c]
