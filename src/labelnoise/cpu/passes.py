"""The passes over memory of batch normalisation + ReLU (+ residual sum, or + 2x2 max-pooling), compiled by Numba.

Imported only by `compiler.usable`, because importing it imports Numba. Pixels are arrays (rows, C): a channels_last
tensor read as N * H * W rows. bfloat16 is passed as its bits (uint16) and computed in float32. `table` (7, C), float32,
holds each channel's coefficients; its rows are named below. Every sum is split into `PARTS` parts for any number of
threads, accumulated in float32 over `BLOCK` rows and then in float64, so no result depends on the number of threads.

Fast-math is limited to flags that preserve NaN and inf, because a diverged run must be noticed. For the same reason
ReLU is `0 if y <= 0 else y`, which preserves NaN. All kernels are in one file, because Numba's cache detects changes
only in a kernel's own file. A separate function finds a window's largest pixel, because its results then compile to
vectorised selects.
"""

from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

MEAN, SCALE, SHIFT, INVSTD, BY_GRAD, BY_INPUT, CONSTANT = range(7)
PARTS, BLOCK = 64, 256

_OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "fastmath": {"contract", "arcp", "nsz"}}


def _load(value: Any) -> Any: ...


@overload(_load, strict=False)
def _load_of(value: Any) -> Any:
    if value == types.uint16:  # the outer cast keeps 32 bits: Numba widens shifts to 64
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


def _store(array: Any, row: int, c: int, value: Any) -> None: ...


@overload(_store, strict=False)
def _store_in(array: Any, row: int, c: int, value: Any) -> Any:
    def rounded(array: Any, row: int, c: int, value: Any) -> None:  # to nearest, ties to even; NaN stays NaN
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        nearest = np.uint32(np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + odd) >> np.uint32(16))
        array[row, c] = np.uint16(nearest if value == value else np.uint32(0x7FC0))

    def plain(array: Any, row: int, c: int, value: Any) -> None:
        array[row, c] = value

    return rounded if array.dtype == types.uint16 else plain


@njit(cache=True, fastmath=_OPTIONS["fastmath"])
def _largest(x: Any, a: int, width: int, c: int, table: Any) -> Any:
    """For the 2x2 window at row `a`: the largest normalised value, its x - mean, and the first of the four with it.

    NaN counts as the largest, as in torch.
    """
    mean, scale, shift = table[MEAN, c], table[SCALE, c], table[SHIFT, c]
    best = _load(x[a, c]) - mean
    best_y, winner = best * scale + shift, np.uint32(0)
    value = _load(x[a + 1, c]) - mean
    y = value * scale + shift
    keep = y <= best_y or best_y != best_y
    best, best_y, winner = best if keep else value, best_y if keep else y, winner if keep else np.uint32(1)
    value = _load(x[a + width, c]) - mean
    y = value * scale + shift
    keep = y <= best_y or best_y != best_y
    best, best_y, winner = best if keep else value, best_y if keep else y, winner if keep else np.uint32(2)
    value = _load(x[a + width + 1, c]) - mean
    y = value * scale + shift
    keep = y <= best_y or best_y != best_y
    best, best_y, winner = best if keep else value, best_y if keep else y, winner if keep else np.uint32(3)
    return best_y, best, winner


@njit(**_OPTIONS)
def input_sums(x: Any, parts: Any) -> None:
    """Sum and sum of squares of x minus its first row (so a large mean costs no precision), to parts (PARTS, 2, C)."""
    rows, channels = x.shape
    for part in prange(PARTS):
        last = (part + 1) * rows // PARTS
        sums = np.empty((2, channels), np.float32)
        parts[part] = 0
        for begin in range(part * rows // PARTS, last, BLOCK):
            sums[:] = 0
            for row in range(begin, min(begin + BLOCK, last)):
                for c in range(channels):
                    value = _load(x[row, c]) - _load(x[0, c])
                    sums[0, c] += value
                    sums[1, c] += value * value
            for k in range(2):
                for c in range(channels):
                    parts[part, k, c] += sums[k, c]


@njit(cache=True)
def statistics(
    parts: Any,
    first: Any,
    rows: int,
    weight: Any,
    bias: Any,
    eps: float,
    momentum: float,
    mean: Any,
    var: Any,
    table: Any,
) -> None:
    """From the sums, fill `table` (MEAN, SCALE, SHIFT, INVSTD) and update running mean and unbiased variance."""
    for c in range(len(first)):
        total, squares = 0.0, 0.0
        for part in range(PARTS):
            total += parts[part, 0, c]
            squares += parts[part, 1, c]
        offset = total / rows
        centre = offset + np.float64(_load(first[c]))
        variance = squares / rows - offset * offset
        if variance < 0:
            variance = 0.0
        invstd = 1 / np.sqrt(variance + eps)
        table[MEAN, c], table[SHIFT, c] = centre, bias[c]
        table[SCALE, c], table[INVSTD, c] = weight[c] * invstd, invstd
        mean[c] += momentum * (centre - mean[c])
        var[c] += momentum * (variance * rows / (rows - 1) - var[c])


@njit(**_OPTIONS)
def forward(x: Any, table: Any, out: Any) -> None:
    """out = relu((x - mean) * scale + shift)."""
    rows, channels = x.shape
    for row in prange(rows):
        for c in range(channels):
            y = (_load(x[row, c]) - table[MEAN, c]) * table[SCALE, c] + table[SHIFT, c]
            _store(out, row, c, np.float32(0) if y <= 0 else y)


@njit(**_OPTIONS)
def forward_residual(x: Any, residual: Any, table: Any, out: Any) -> None:
    """out = relu((x - mean) * scale + shift + residual)."""
    rows, channels = x.shape
    for row in prange(rows):
        for c in range(channels):
            y = (_load(x[row, c]) - table[MEAN, c]) * table[SCALE, c] + table[SHIFT, c] + _load(residual[row, c])
            _store(out, row, c, np.float32(0) if y <= 0 else y)


@njit(**_OPTIONS)
def forward_pool(x: Any, table: Any, height: int, width: int, out: Any) -> None:
    """out = the maximum over each 2x2 window of relu((x - mean) * scale + shift)."""
    channels = x.shape[1]
    up, across = height // 2, width // 2
    for line in prange(len(out) // across):
        top = (line // up) * height * width + (line % up) * 2 * width
        for column in range(across):
            a = top + 2 * column
            for c in range(channels):
                best, _, _ = _largest(x, a, width, c, table)
                _store(out, line * across + column, c, np.float32(0) if best <= 0 else best)


@njit(**_OPTIONS)
def grad_sums(x: Any, grad: Any, table: Any, parts: Any) -> None:
    """Sums of g and of g (x - mean) to parts (PARTS, 2, C), where g is the gradient at the ReLU's input."""
    rows, channels = x.shape
    for part in prange(PARTS):
        last = (part + 1) * rows // PARTS
        sums = np.empty((2, channels), np.float32)
        parts[part] = 0
        for begin in range(part * rows // PARTS, last, BLOCK):
            sums[:] = 0
            for row in range(begin, min(begin + BLOCK, last)):
                for c in range(channels):
                    value = _load(x[row, c]) - table[MEAN, c]
                    y = value * table[SCALE, c] + table[SHIFT, c]
                    g = np.float32(0) if y <= 0 else _load(grad[row, c])
                    sums[0, c] += g
                    sums[1, c] += g * value
            for k in range(2):
                for c in range(channels):
                    parts[part, k, c] += sums[k, c]


@njit(**_OPTIONS)
def grad_sums_residual(x: Any, grad: Any, out: Any, table: Any, behind: Any, parts: Any) -> None:
    """As `grad_sums`, with the sign read from the output. Writes g, also the residual's gradient, to `behind`."""
    rows, channels = x.shape
    for part in prange(PARTS):
        last = (part + 1) * rows // PARTS
        sums = np.empty((2, channels), np.float32)
        parts[part] = 0
        for begin in range(part * rows // PARTS, last, BLOCK):
            sums[:] = 0
            for row in range(begin, min(begin + BLOCK, last)):
                for c in range(channels):
                    g = np.float32(0) if _load(out[row, c]) <= 0 else _load(grad[row, c])
                    _store(behind, row, c, g)
                    sums[0, c] += g
                    sums[1, c] += g * (_load(x[row, c]) - table[MEAN, c])
            for k in range(2):
                for c in range(channels):
                    parts[part, k, c] += sums[k, c]


@njit(**_OPTIONS)
def grad_sums_pool(x: Any, grad: Any, table: Any, height: int, width: int, parts: Any) -> None:
    """As `grad_sums`, where g is zero except at the first largest pixel of each window."""
    channels = x.shape[1]
    up, across = height // 2, width // 2
    windows = len(grad)
    for part in prange(PARTS):
        last = (part + 1) * windows // PARTS
        sums = np.empty((2, channels), np.float32)
        parts[part] = 0
        for begin in range(part * windows // PARTS, last, BLOCK):
            sums[:] = 0
            for window in range(begin, min(begin + BLOCK, last)):
                line = window // across
                a = (line // up) * height * width + (line % up) * 2 * width + 2 * (window % across)
                for c in range(channels):
                    y, value, _ = _largest(x, a, width, c, table)
                    g = np.float32(0) if y <= 0 else _load(grad[window, c])
                    sums[0, c] += g
                    sums[1, c] += g * value
            for k in range(2):
                for c in range(channels):
                    parts[part, k, c] += sums[k, c]


@njit(cache=True)
def coefficients(parts: Any, rows: int, table: Any, weight_grad: Any, bias_grad: Any) -> None:
    """From the sums, compute the gradients of weight and bias and fill `table` (BY_GRAD, BY_INPUT, CONSTANT)."""
    for c in range(len(bias_grad)):
        total, product = 0.0, 0.0
        for part in range(PARTS):
            total += parts[part, 0, c]
            product += parts[part, 1, c]
        invstd, scale = np.float64(table[INVSTD, c]), np.float64(table[SCALE, c])
        weight_grad[c], bias_grad[c] = product * invstd, total
        table[BY_GRAD, c] = scale
        table[BY_INPUT, c] = -scale * invstd * invstd * product / rows
        table[CONSTANT, c] = -scale * total / rows


@njit(cache=True, fastmath=_OPTIONS["fastmath"])
def _without_grad(x: Any, table: Any, row: int, c: int) -> Any:
    """The part of dx that comes through the mean and the variance."""
    return (_load(x[row, c]) - table[MEAN, c]) * table[BY_INPUT, c] + table[CONSTANT, c]


@njit(**_OPTIONS)
def backward(x: Any, grad: Any, table: Any, dx: Any) -> None:
    """dx = g * BY_GRAD + (x - mean) * BY_INPUT + CONSTANT."""
    rows, channels = x.shape
    for row in prange(rows):
        for c in range(channels):
            value = _load(x[row, c]) - table[MEAN, c]
            y = value * table[SCALE, c] + table[SHIFT, c]
            g = np.float32(0) if y <= 0 else _load(grad[row, c])
            _store(dx, row, c, g * table[BY_GRAD, c] + (value * table[BY_INPUT, c] + table[CONSTANT, c]))


@njit(**_OPTIONS)
def backward_residual(x: Any, behind: Any, table: Any, dx: Any) -> None:
    """As `backward`, with the g that `grad_sums_residual` wrote."""
    rows, channels = x.shape
    for row in prange(rows):
        for c in range(channels):
            _store(dx, row, c, _load(behind[row, c]) * table[BY_GRAD, c] + _without_grad(x, table, row, c))


@njit(**_OPTIONS)
def backward_pool(x: Any, grad: Any, table: Any, height: int, width: int, dx: Any) -> None:
    """As `backward`, where g goes to the first largest pixel of each window."""
    channels = x.shape[1]
    up, across = height // 2, width // 2
    for line in prange(len(x) // (height * width) * up):
        top = (line // up) * height * width + (line % up) * 2 * width
        for column in range(across):
            a, window = top + 2 * column, line * across + column
            for c in range(channels):
                y, _, winner = _largest(x, a, width, c, table)
                g = np.float32(0) if y <= 0 else _load(grad[window, c]) * table[BY_GRAD, c]
                none = np.float32(0)
                _store(dx, a, c, (g if winner == 0 else none) + _without_grad(x, table, a, c))
                _store(dx, a + 1, c, (g if winner == 1 else none) + _without_grad(x, table, a + 1, c))
                _store(dx, a + width, c, (g if winner == 2 else none) + _without_grad(x, table, a + width, c))
                _store(dx, a + width + 1, c, (g if winner == 3 else none) + _without_grad(x, table, a + width + 1, c))
    if height % 2 or width % 2:
        _outside_windows(x, table, height, width, dx)


@njit(cache=True)
def _outside_windows(x: Any, table: Any, height: int, width: int, dx: Any) -> None:
    """dx of the last row or column of an odd height or width, which is in no window: there g is zero."""
    for row in range(len(x)):
        if row // width % height >= height // 2 * 2 or row % width >= width // 2 * 2:
            for c in range(x.shape[1]):
                _store(dx, row, c, _without_grad(x, table, row, c))
