"""The passes of `passes`, differentiated along a direction: how the output changes, for forward differentiation.

Arrays and `table` are as in `passes`; its rows BY_GRAD, BY_INPUT and CONSTANT hold the coefficients of dx, of x - mean,
and 1 in the change of the normalised value.
"""

from typing import Any

import numpy as np
from numba import njit, prange

from labelnoise.cpu.pixels import BY_GRAD, BY_INPUT, CONSTANT, MEAN, OPTIONS, SCALE, SHIFT, largest, load, store


@njit(**OPTIONS)
def change(x: Any, dx: Any, table: Any, out: Any) -> None:
    """The change of relu((x - mean) * scale + shift)."""
    rows, channels = x.shape
    for row in prange(rows):
        for c in range(channels):
            value = load(x[row, c]) - table[MEAN, c]
            y = value * table[SCALE, c] + table[SHIFT, c]
            moved = load(dx[row, c]) * table[BY_GRAD, c] + (value * table[BY_INPUT, c] + table[CONSTANT, c])
            store(out, row, c, np.float32(0) if y <= 0 else moved)


@njit(**OPTIONS)
def change_residual(x: Any, dx: Any, residual: Any, dresidual: Any, table: Any, out: Any) -> None:
    """The change of relu((x - mean) * scale + shift + residual)."""
    rows, channels = x.shape
    for row in prange(rows):
        for c in range(channels):
            value = load(x[row, c]) - table[MEAN, c]
            y = value * table[SCALE, c] + table[SHIFT, c] + load(residual[row, c])
            moved = load(dx[row, c]) * table[BY_GRAD, c] + (value * table[BY_INPUT, c] + table[CONSTANT, c])
            store(out, row, c, np.float32(0) if y <= 0 else moved + load(dresidual[row, c]))


@njit(**OPTIONS)
def change_pool(x: Any, dx: Any, table: Any, height: int, width: int, out: Any) -> None:
    """The change of the maximum over each 2x2 window of relu((x - mean) * scale + shift): that of its first largest."""
    channels = x.shape[1]
    up, across = height // 2, width // 2
    for line in prange(len(out) // across):
        top = (line // up) * height * width + (line % up) * 2 * width
        for column in range(across):
            a = top + 2 * column
            for c in range(channels):
                y, value, winner = largest(x, a, width, c, table)
                one, two = load(dx[a, c]), load(dx[a + 1, c])  # all four, so that the choice compiles to selects
                three, four = load(dx[a + width, c]), load(dx[a + width + 1, c])
                upper, lower = one if winner == 0 else two, three if winner == 2 else four
                chosen = upper if winner <= 1 else lower
                moved = chosen * table[BY_GRAD, c] + (value * table[BY_INPUT, c] + table[CONSTANT, c])
                store(out, line * across + column, c, np.float32(0) if y <= 0 else moved)
