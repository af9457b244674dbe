"""The smallest losses that are distributed like those of clean images."""

import numpy as np
from torch import Tensor

TOGETHER = 1000  # parts that are compared at once


def closest_part(losses: Tensor, reference: Tensor) -> float:
    """The threshold l for which the losses up to l are distributed most like the reference: the largest distance
    between the two distribution functions (Kolmogorov-Smirnov's statistic) is smallest. The first one of several.

    Shapes: (N,), (M,); computed on the host, in time N M.
    Source: Tuor, Wang, Ko, Liu, Leung 2020, arXiv:2001.08300, section III.
    """
    of = np.sort(losses.detach().double().cpu().numpy())
    known, counts = np.unique(reference.detach().double().cpu().numpy(), return_counts=True)
    parts = np.append(np.flatnonzero(np.diff(of)), len(of) - 1) + 1  # sizes; equal losses are not parted
    before, upto = (np.searchsorted(of, known, side) for side in ("left", "right"))  # losses below and up to each
    steps = np.append(0, counts.cumsum()) / counts.sum()
    distances = []
    for sizes in np.array_split(parts, range(TOGETHER, len(parts), TOGETHER)):
        k = sizes[:, None]
        below = np.abs(np.minimum(before, k) / k - steps[:-1]).max(axis=1)  # just before a step of the reference
        at = np.abs(np.minimum(upto, k) / k - steps[1:]).max(axis=1)
        distances.append(np.maximum(below, at))
    best = parts[int(np.concatenate(distances).round(12).argmin())]  # whatever the rounding of equal distances
    return float(of[best - 1])
