"""Search for the critical ratio of a loss that is not an l(p_y): the smallest w_m / w_n at which the vertex is best."""

from dataclasses import dataclass
from functools import cached_property
from math import inf, isinf
from typing import Literal

import torch
from torch import Tensor

from labelnoise.theory.additive import limit, rounded_away
from labelnoise.theory.evaluation import LossFunction
from labelnoise.theory.search import (
    CENTRE,
    LARGEST_RATIO,
    Pool,
    at_vertex,
    first_pool,
    holds,
    refined,
    smallest_ratio,
    vertex_slopes,
    weights,
)

Minimum = Literal["vertex", "not unique", "not the vertex", "none", "not on the simplex"]
ROUNDS = 3


@dataclass(frozen=True)
class Search:
    """What a search on the simplex of C classes found.

    Attributes:
        num_classes: C.
        minimum: what minimises L(p, y) without noise: the vertex e_y; several predictions, some of another class; one
            prediction other than the vertex; nothing, as the loss is unbounded below; or unknown, as the loss is not a
            function of the probabilities.
        paired: the smallest w_m / w_n at which the vertex is best if no third class has weight (asymmetric, pair
            flip); inf: never.
        even: the same if all other classes have the weight w_n (symmetric noise).
        pool: the predictions tried.
        slopes: limits at the vertex of n's slope over t's, with `rest` 0 and 1.
    """

    num_classes: int
    minimum: Minimum
    paired: float
    even: float
    pool: Pool
    slopes: tuple[float, float]

    @property
    def ratio(self) -> float:
        """The larger of the two: tolerant whatever weight the other classes have."""
        return max(self.paired, self.even)

    @cached_property
    def difference(self) -> float | None:
        """The critical w_m - w_n (weights sum to 1), if the difference decides and not the ratio."""
        if self.num_classes < 3 or isinf(self.ratio) or self.even < 1.01 * self.paired:
            return None
        paired = (self.paired - 1) / (self.paired + 1)
        even = (self.even - 1) / (self.even + self.num_classes - 1)
        return paired if abs(paired - even) < 5e-3 * paired else None

    def tolerates(self, row: Tensor) -> bool:
        """Whether the vertex of the largest entry of a transition matrix's row (C,) is best in the pool."""
        if self.minimum != "vertex":
            return False
        w = row.sort(descending=True).values
        if w[1] == 0:
            return True
        if self.difference is not None:
            return bool(w[0] - w[1] >= self.difference)
        rest = float(w[2:].sum() / w[1] / max(1, self.num_classes - 2))
        bound = (1 - rest) * self.slopes[0] + rest * self.slopes[1] if not isinf(max(self.slopes)) else inf
        return bool(w[0] >= bound * w[1]) and holds(self.pool, w)


def search(loss: LossFunction, num_classes: int) -> Search:
    """Search for the critical ratios. Deterministic."""
    pool = first_pool(loss, num_classes)
    minimum = _minimum(pool)
    if minimum != "vertex":
        return Search(num_classes, minimum, inf, inf, pool, (inf, inf))
    found, bounds = [], []
    scale = float((pool.losses[CENTRE, 0] - pool.losses[:, 0].min()).abs())
    for rest in (0.0, 1.0) if num_classes > 2 else (0.0,):
        bounds.append(_slope_bound(loss, num_classes, rest, scale))
        ratio = smallest_ratio(pool, rest, num_classes, bounds[-1])
        for _ in range(ROUNDS):
            if isinf(ratio):
                break
            pool = refined(loss, pool, [weights(max(1.0, 0.998 * ratio), rest, num_classes)], num_classes)
            before, ratio = ratio, smallest_ratio(pool, rest, num_classes, bounds[-1])
            if ratio < before * (1 + 1e-5):
                break
        found.append(ratio)
    return Search(num_classes, minimum, found[0], found[-1], pool, (bounds[0], bounds[-1]))


def _minimum(pool: Pool) -> Minimum:
    """What minimises the loss of label t."""
    loss = pool.losses[:, 0]
    ordinary = pool.levels.min(dim=1).values > -20
    scale = float(loss[ordinary].max() - loss[ordinary].min())
    least = float(loss.min())
    if least < loss[ordinary].min() - 50 * scale:
        return "none"
    if not at_vertex(pool).any():
        return "not the vertex"
    wrong = pool.levels[:, 1] > 0
    return "not unique" if (loss[wrong] <= least + 1e-3 * (loss[CENTRE] - least)).any() else "vertex"


def _slope_bound(loss: LossFunction, num_classes: int, rest: float, scale: float) -> float:
    """The ratio that the slopes at the vertex require: below it, mass moves to n. inf if n's slope is infinite."""
    log_v = torch.linspace(-6, -25, 77, dtype=torch.float64)
    of_t, of_n = vertex_slopes(loss, num_classes, log_v, rest)
    good = of_t.isfinite() & of_n.isfinite()
    everywhere = torch.ones_like(good)
    good &= ~rounded_away(of_n * log_v.exp(), of_n, -log_v, everywhere, scale)
    if good.sum() < 6:
        return 1.0
    t, n = limit(of_t[good]), limit(of_n[good])
    if n <= 0 or (isinf(t) and not isinf(n)):
        return 1.0
    if t <= 0:
        return inf
    ratio = limit(of_n[good] / of_t[good]) if isinf(n) else n / t
    return ratio if ratio < LARGEST_RATIO else inf
