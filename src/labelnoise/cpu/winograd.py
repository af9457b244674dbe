"""The three transforms of a 3x3 convolution by Winograd's F(4x4, 3x3), compiled by Numba.

A tile is 4x4 pixels of the output; it reads 6x6 pixels of the input. Transformed, it has 36 numbers per channel, and
the convolution becomes 36 matrix products over the channels: 36 multiplications for 16 pixels instead of 144.
Transformed tiles are stored in 36 planes, (tiles, channels) each. Planes that are written begin `PLANE` numbers apart
for any number of channels, because the compiler vectorises only stores that it can prove not to overlap.

The tiles are divided into one or two parts, the halves of the batch, each with its own planes; a chunk takes the same
number of tiles from each. So each of two threads reads only what it wrote itself. Two cores may share no cache, and
reading what the other wrote is then slow.

Source: Lavin, Gray 2016, arXiv:1509.09308, section 4, for method and names (A, B, G). Their matrices interpolate at 0,
+-1, +-2 and infinity; 0, +-5/8, +-3/2 and infinity give less than half the rounding error (found by a search
over multiples of 1/8; on the choice of points, see Barabasz et al. 2020, arXiv:1803.10986).

Imported only by `compiler.usable`, because importing it imports Numba. Pixels are float32 arrays (rows, C): a
channels_last tensor read as N * H * W rows. Every tile is computed independently, so no result depends on the number of
threads. Indices into flat arrays are unsigned: a signed index may be negative, and Numba's check prevents vectorising.
"""

from typing import Any

import numpy as np
from numba import njit, prange

POINTS = 5 / 8, 3 / 2  # and their negatives, 0 and infinity
PLANE = 40960 + 16  # numbers from one plane to the next; spreads planes over the cache: 32 KiB + a line, modulo 128 KiB
_BLOCK, _LANES = 64, 80  # channels of a tile transformed together: the usual number, which fits the L1 cache; the most

_LANE1, _LANE2, _LANE3, _LANE4, _LANE5 = (np.uint64(k * _LANES) for k in range(1, 6))
_LINE1, _LINE2, _LINE3, _LINE4, _LINE5 = (np.uint64(6 * k * _LANES) for k in range(1, 6))
_PLANE1, _PLANE2, _PLANE3, _PLANE4, _PLANE5 = (np.uint64(k * PLANE) for k in range(1, 6))
_FAST = {"contract", "arcp", "nsz"}  # flags that preserve NaN and inf: a diverged run must be noticed
_0, _A, _B = np.float32(0), np.float32(POINTS[0]), np.float32(POINTS[1])
_A2, _B2, _A3, _B3 = _A**2, _B**2, _A**3, _B**3  # exact in float32, as are
_SUM, _PRODUCT = _A2 + _B2, _A2 * _B2


@njit(cache=True, fastmath=_FAST)
def _input(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """B' v, for six pixels of the input in a row."""
    p, q, r, s = e - _B2 * c, _A * (d - _B2 * b), e - _A2 * c, _B * (d - _A2 * b)
    return _PRODUCT * a - _SUM * c + e, p + q, p - q, r + s, r - s, _PRODUCT * b - _SUM * d + f


@njit(cache=True, fastmath=_FAST)
def _output(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' v: gives four pixels of the output in a row."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, _A * q + _B * s, _A2 * p + _B2 * r, _A3 * q + _B3 * s + f


@njit(cache=True, fastmath=_FAST)
def _gradient(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A v, for the gradients of four pixels of the output in a row."""
    p, q, r, s = a + _A2 * c, _A * b + _A3 * d, a + _B2 * c, _B * b + _B3 * d
    return a, p + q, p - q, r + s, r - s, d


@njit(cache=True)
def _corner(t: int, parts: int, first: int, count: int, pixels: int, height: int, width: int) -> Any:
    """The t-th tile of a chunk: its part, its place in the part, and image, line and column of its first pixel."""
    part, place = t // count, t % count
    tile = pixels // 16 // parts * part + first + place
    up, across = height // 4, width // 4
    return part, place, tile // (up * across), tile // across % up * 4, tile % across * 4


@njit(cache=True)
def _lanes(channels: int, begin: int) -> Any:
    """The number of channels to transform together from `begin` on; leaves no short remainder."""
    return channels - begin if channels - begin <= _LANES else _BLOCK


@njit(parallel=True, cache=True, fastmath=_FAST)
def input_tiles(x: Any, height: int, width: int, parts: int, first: int, count: int, planes: Any) -> None:
    """planes = B' v B of each part's `count` tiles from `first` on: v are 6x6 pixels of x, with zero padding."""
    pixels, channels = x.shape
    for t in prange(parts * count):
        part, place, image, line, column = _corner(t, parts, first, count, pixels, height, width)
        buffer = np.empty(36 * _LANES, np.float32)
        begin = 0
        while begin < channels:
            lanes = _lanes(channels, begin)
            many, at = np.uint64(lanes), np.uint64(begin)
            for k in range(36):
                i, j, o = line + k // 6 - 1, column + k % 6 - 1, np.uint64(k * _LANES)
                if 0 <= i < height and 0 <= j < width:
                    row = np.uint64((image * height + i) * width + j)
                    for c in range(many):
                        buffer[o + c] = x[row, at + c]
                else:
                    for c in range(many):
                        buffer[o + c] = _0
            for q in range(6):
                o = np.uint64(q * _LANES)
                for c in range(many):
                    o0, o1, o2, o3 = o + c, o + _LINE1 + c, o + _LINE2 + c, o + _LINE3 + c
                    o4, o5 = o + _LINE4 + c, o + _LINE5 + c
                    values = _input(buffer[o0], buffer[o1], buffer[o2], buffer[o3], buffer[o4], buffer[o5])
                    buffer[o0], buffer[o1], buffer[o2], buffer[o3], buffer[o4], buffer[o5] = values
            for p in range(6):
                o, v = np.uint64(6 * p * _LANES), np.uint64((36 * part + 6 * p) * PLANE + place * channels + begin)
                for c in range(many):
                    o0, o1, o2, o3 = o + c, o + _LANE1 + c, o + _LANE2 + c, o + _LANE3 + c
                    o4, o5 = o + _LANE4 + c, o + _LANE5 + c
                    values = _input(buffer[o0], buffer[o1], buffer[o2], buffer[o3], buffer[o4], buffer[o5])
                    planes[v + c], planes[v + _PLANE1 + c], planes[v + _PLANE2 + c] = values[:3]
                    planes[v + _PLANE3 + c], planes[v + _PLANE4 + c], planes[v + _PLANE5 + c] = values[3:]
            begin += lanes


@njit(parallel=True, cache=True, fastmath=_FAST)
def output_tiles(planes: Any, height: int, width: int, first: int, bias: Any, out: Any) -> None:
    """out = A' m A + bias of the tiles m in planes (parts, 36, count, C), each part's from tile `first` on."""
    pixels, channels = out.shape
    parts, count = planes.shape[0], planes.shape[2]
    for t in prange(parts * count):
        part, place, image, line, column = _corner(t, parts, first, count, pixels, height, width)
        buffer = np.empty(24 * _LANES, np.float32)
        begin = 0
        while begin < channels:
            lanes = _lanes(channels, begin)
            many, at = np.uint64(lanes), np.uint64(begin)
            for q in range(6):
                o = np.uint64(q * _LANES)
                m0, m1, m2 = planes[part, q, place], planes[part, 6 + q, place], planes[part, 12 + q, place]
                m3, m4, m5 = planes[part, 18 + q, place], planes[part, 24 + q, place], planes[part, 30 + q, place]
                for c in range(many):
                    i = at + c
                    values = _output(m0[i], m1[i], m2[i], m3[i], m4[i], m5[i])
                    o0, o1, o2, o3 = o + c, o + _LINE1 + c, o + _LINE2 + c, o + _LINE3 + c
                    buffer[o0], buffer[o1], buffer[o2], buffer[o3] = values
            for p in range(4):
                o = np.uint64(6 * p * _LANES)
                for c in range(many):
                    o0, o1, o2, o3 = o + c, o + _LANE1 + c, o + _LANE2 + c, o + _LANE3 + c
                    o4, o5 = o + _LANE4 + c, o + _LANE5 + c
                    values = _output(buffer[o0], buffer[o1], buffer[o2], buffer[o3], buffer[o4], buffer[o5])
                    buffer[o0], buffer[o1], buffer[o2], buffer[o3] = values
            for k in range(16):
                row = np.uint64((image * height + line + k // 4) * width + column + k % 4)
                o = np.uint64((6 * (k // 4) + k % 4) * _LANES)
                for c in range(many):
                    out[row, at + c] = buffer[o + c] + bias[at + c]
            begin += lanes


@njit(parallel=True, cache=True, fastmath=_FAST)
def gradient_tiles(grad: Any, height: int, width: int, parts: int, first: int, count: int, planes: Any) -> None:
    """planes = A g A' of each part's `count` tiles from `first` on, 4x4 pixels g of grad: `output_tiles`' adjoint."""
    pixels, channels = grad.shape
    for t in prange(parts * count):
        part, place, image, line, column = _corner(t, parts, first, count, pixels, height, width)
        buffer = np.empty(36 * _LANES, np.float32)
        begin = 0
        while begin < channels:
            lanes = _lanes(channels, begin)
            many, at = np.uint64(lanes), np.uint64(begin)
            for k in range(16):
                row = np.uint64((image * height + line + k // 4) * width + column + k % 4)
                o = np.uint64((6 * (k // 4) + k % 4) * _LANES)
                for c in range(many):
                    buffer[o + c] = grad[row, at + c]
            for q in range(4):
                o = np.uint64(q * _LANES)
                for c in range(many):
                    o0, o1, o2, o3 = o + c, o + _LINE1 + c, o + _LINE2 + c, o + _LINE3 + c
                    o4, o5 = o + _LINE4 + c, o + _LINE5 + c
                    values = _gradient(buffer[o0], buffer[o1], buffer[o2], buffer[o3])
                    buffer[o0], buffer[o1], buffer[o2], buffer[o3], buffer[o4], buffer[o5] = values
            for p in range(6):
                o, v = np.uint64(6 * p * _LANES), np.uint64((36 * part + 6 * p) * PLANE + place * channels + begin)
                for c in range(many):
                    o0, o1, o2, o3 = o + c, o + _LANE1 + c, o + _LANE2 + c, o + _LANE3 + c
                    values = _gradient(buffer[o0], buffer[o1], buffer[o2], buffer[o3])
                    planes[v + c], planes[v + _PLANE1 + c], planes[v + _PLANE2 + c] = values[:3]
                    planes[v + _PLANE3 + c], planes[v + _PLANE4 + c], planes[v + _PLANE5 + c] = values[3:]
            begin += lanes
