"""Search the simplex for the smallest risk sum_i w_i L(p, i), for losses that are not an l(p_y).

The loss is assumed to treat classes alike, so four kinds of class are enough: t with the largest weight, n with the
second largest, s others with one probability, and the rest with another. The vertex e_t is compared with all others.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from labelnoise.theory.evaluation import LossFunction, gradients, values

DEPTHS = (1e15, 1e4)  # a logit this far below the largest means probability 0; the first with a finite loss is used
VERTEX = 46.0  # log-odds from which a prediction counts as the vertex: 1 - p_t of 1e-20
LARGEST_RATIO = 1e3  # a loss that is not tolerant at this w_m / w_n counts as never tolerant
CENTRE = 1  # index of the prediction of equal probabilities in every pool
RATE = 0.3  # first step of the descent, in logits
SLACK = 1e-12  # relative to the loss's range; smaller differences do not count


class Pool(NamedTuple):
    """Predictions that were tried.

    Attributes:
        levels: (N, 4), logits of t, n, the s others and the rest; t's is 0.
        others: (N,), s.
        losses: (N, 4), L(p, i) for i = t, n, one of the others, one of the rest.
    """

    levels: Tensor
    others: Tensor
    losses: Tensor


def weights(ratio: float, rest: float, num_classes: int) -> Tensor:
    """Label probabilities (C,): w_t / w_n is `ratio`, all others are `rest` times w_n."""
    w = torch.full((num_classes,), rest, dtype=torch.float64)
    w[0], w[1] = ratio, 1.0
    return w / w.sum()


def first_pool(loss: LossFunction, num_classes: int) -> Pool:
    """The vertices, the centre, scans between them that are fine near the vertex, and random predictions."""
    generator = torch.Generator().manual_seed(0)
    depth = depth_of(loss, num_classes)
    scan = torch.cat([torch.linspace(-8, 8, 65), torch.linspace(8.5, 60, 60)]).double()
    zero, deep = torch.zeros_like(scan), torch.full_like(scan, -depth)
    most = max(num_classes - 2, 0)
    sizes = sorted({s for s in (0, 1, 2, most // 2, most - 1, most) if 0 <= s <= most})
    corners = [[0, depth, depth, depth], [0, 0, 0, 0], [0, 60, depth, depth], [depth, 0, depth, depth]]
    levels = [-torch.tensor(corners, dtype=torch.float64), torch.stack([zero, -scan, deep, deep], 1)]
    others = [torch.zeros(4), torch.zeros(len(scan))]
    for s in sizes[1:]:
        for n, x, y in ((-scan, -scan, deep), (-scan, -scan, -scan), (deep, -scan, deep), (-scan, deep, -scan)):
            levels.append(torch.stack([zero, n, x, y], 1))
            others.append(torch.full((len(scan),), float(s)))
    drawn = torch.rand(240, 4, generator=generator).double() * 18 - 14
    drawn[torch.rand(240, 4, generator=generator) < 0.25] = -depth
    drawn[:, 0] = 0
    levels.append(drawn)
    others.append(torch.tensor(sizes)[torch.randint(len(sizes), (240,), generator=generator)])
    return evaluate(loss, torch.cat(levels), torch.cat(others).long(), num_classes)


def kinds_of(others: Tensor, num_classes: int) -> Tensor:
    """The kind of each class: t, n, the s others, the rest. Shapes: (N,) -> (N, C), 0 to 3."""
    place = torch.arange(num_classes).expand(len(others), -1)
    return torch.where(place < 2, place, torch.where(place < 2 + others[:, None], 2, 3))


def logits_of(levels: Tensor, others: Tensor, num_classes: int) -> Tensor:
    """The logit of each class. Shapes: (N, 4), (N,) -> (N, C)."""
    return levels.gather(1, kinds_of(others, num_classes))


def evaluate(loss: LossFunction, levels: Tensor, others: Tensor, num_classes: int) -> Pool:
    """The pool of these predictions."""
    logits, labels = _with_labels(levels, others, num_classes)
    return Pool(levels, others, values(loss, logits, labels).view(4, -1).T)


def _with_labels(levels: Tensor, others: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    labels = torch.stack([torch.zeros_like(others), torch.ones_like(others), torch.full_like(others, 2), 2 + others])
    labels = labels.clamp(max=num_classes - 1)  # for kinds without a class; their weight is 0
    return logits_of(levels, others, num_classes).repeat(4, 1), labels.flatten()


def kind_weights(w: Tensor, others: Tensor) -> Tensor:
    """The weight of each kind of class, w sorted with the largest first. Shapes: (C,), (N,) -> (N, 4)."""
    summed = torch.cat([w.new_zeros(1), w[2:].cumsum(0)])
    x = summed[others]
    return torch.stack([w[0].expand_as(x), w[1].expand_as(x), x, summed[-1] - x], dim=1)


def risks(pool: Pool, w: Tensor) -> Tensor:
    """sum_i w_i L(p, i) of every prediction. Shapes: -> (N,)."""
    return (kind_weights(w, pool.others) * pool.losses).sum(dim=1)


def at_vertex(pool: Pool) -> Tensor:
    """Which predictions are e_t, as far as their probabilities show, with the smallest loss without noise.

    A loss of scaled logits depends on how low the other logits are, so not all that are near e_t have it.
    Shapes: -> (N,), bool.
    """
    near = pool.levels[:, 1:].max(dim=1).values <= -VERTEX
    of_t = pool.losses[:, 0]
    least = of_t.min()
    return near & (of_t <= least + 1e-6 * (of_t[CENTRE] - least))


def holds(pool: Pool, w: Tensor) -> bool:
    """Whether no prediction of the pool has a smaller risk than the vertex of the largest weight."""
    risk, vertex = risks(pool, w), at_vertex(pool)
    scale = max(1e-12, float((pool.losses[CENTRE] - pool.losses[0]).abs().max()))
    return bool(risk[vertex].min() <= risk[~vertex].min() + SLACK * scale)


def smallest_ratio(pool: Pool, rest: float, num_classes: int, slope_bound: float = 1.0) -> float:
    """The smallest w_m / w_n, at least `slope_bound`, at which the vertex is best in the pool."""
    low, high = max(1.0, min(slope_bound, LARGEST_RATIO)), LARGEST_RATIO
    if slope_bound >= LARGEST_RATIO or not holds(pool, weights(high, rest, num_classes)):
        return inf
    if holds(pool, weights(low * (1 + 1e-6), rest, num_classes)):
        return low
    while high / low > 1 + 1e-7:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if holds(pool, weights(middle, rest, num_classes)) else (middle, high)
    return high


def refined(
    loss: LossFunction, pool: Pool, ws: Sequence[Tensor], num_classes: int, steps: int = 60, count: int = 32
) -> Pool:
    """The pool with more predictions: for each w, gradient descent on its risk from the best that are not the vertex.

    Args:
        ws: label probabilities (C,), the largest first.
        steps: of Adam. count: starts for each w, every fourth of the 4 * count best predictions.
    """
    starts = [torch.where(at_vertex(pool), inf, risks(pool, w)).argsort()[: count * 4 : 4] for w in ws]
    start = torch.cat(starts)
    levels, others = pool.levels[start].clone(), pool.others[start]
    free = levels > -DEPTHS[-1]
    free[:, 0] = False
    share = torch.cat([kind_weights(w, pool.others[s]) for w, s in zip(ws, starts, strict=True)]).T.reshape(-1, 1)
    first, second = torch.zeros_like(levels), torch.zeros_like(levels)
    kinds = kinds_of(others, num_classes)
    for step in range(1, steps + 1):
        slopes = gradients(loss, *_with_labels(levels, others, num_classes)) * share
        slope = torch.zeros_like(levels).scatter_add_(1, kinds, slopes.view(4, len(levels), -1).sum(dim=0))
        slope = torch.where(free & slope.isfinite(), slope, 0.0)
        first = 0.8 * first + 0.2 * slope
        second = 0.95 * second + 0.05 * slope**2
        move = first / (second.sqrt() + 1e-14) / (1 - 0.8**step) * (1 - 0.95**step) ** 0.5
        levels = torch.where(free, (levels - RATE * 0.96**step * move).clamp(-VERTEX + 1, VERTEX), levels)
    return Pool(*map(torch.cat, zip(pool, evaluate(loss, levels, others, num_classes), strict=True)))


def depth_of(loss: LossFunction, num_classes: int) -> float:
    """How far below the others a logit may be with a finite loss; at least 1e4, which `refuse` checks."""
    labels = torch.arange(num_classes).clamp(max=2)
    for depth in DEPTHS:
        logits = torch.full((num_classes, num_classes), -depth, dtype=torch.float64)
        logits[:, 0] = 0
        if values(loss, logits, labels).isfinite().all():
            break
    return depth


def vertex_slopes(loss: LossFunction, num_classes: int, log_v: Tensor, rest: float) -> tuple[Tensor, Tensor]:
    """Slopes of the losses as mass v moves from the vertex e_t to n: of t's loss, and of -(n's + rest * the others').

    Shapes: log_v (N,), log-odds of v -> (N,), (N,).
    """
    deep = torch.full_like(log_v, -depth_of(loss, num_classes))
    no_others = torch.zeros(len(log_v), dtype=torch.int64)
    logits = logits_of(torch.stack([torch.zeros_like(log_v), log_v, deep, deep], 1), no_others, num_classes)
    kinds = min(3, num_classes)
    labels = torch.arange(kinds).repeat_interleave(len(log_v))
    slopes = gradients(loss, logits.repeat(kinds, 1), labels).view(kinds, len(log_v), num_classes)
    in_v = slopes[:, :, 1] / (log_v - 2 * torch.log1p(log_v.exp())).exp()  # dv / d log-odds = v (1 - v)
    others = (num_classes - 2) * rest * in_v[2] if num_classes > 2 else 0.0
    return in_v[0], -(in_v[1] + others)
