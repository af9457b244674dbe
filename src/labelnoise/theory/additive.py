"""Losses that depend on p_y alone, L(p, y) = l(p_y): the slopes of l, its shape, and its asymmetry ratios.

Source: Zhou, Liu, Jiang, Gao, Ji 2021, arXiv:2106.03110, section 3.2, for the asymmetry ratio; docs/theory.md derives
the ratios of convex and concave l.
"""

from dataclasses import dataclass
from math import inf, isinf, log
from typing import Literal

import torch
from torch import Tensor

from labelnoise.theory.evaluation import LossFunction, gradients, random_logits, values

Shape = Literal["linear", "convex", "concave", "neither", "not decreasing"]

# log-odds of p_y at which slopes are taken: dense in the middle, log-spaced down to p_y and 1 - p_y of 1e-278
DENSE = torch.linspace(-6, 6, 241, dtype=torch.float64)
TAIL = torch.logspace(log(6.1) / log(10), log(640) / log(10), 200, dtype=torch.float64)
NARROW = 80.0  # largest |log-odds| for a loss that computes in float32, whose smallest number is 1e-38
FAR = 20.0  # log-odds beyond which a slope counts as its limit: 1 - p_y of 2e-9


@dataclass(frozen=True)
class Profile:
    """The slopes of l.

    Attributes:
        log_odds: (N,), log p_y / (1 - p_y), increasing.
        steepness: (N,), -l'(p_y) there.
        at_0, at_1: its limits at p_y = 0 and p_y = 1; inf and 0 are inferred from how it grows or shrinks.
        shape: of l.
        drop: l(0) - l(1), inf if l(0) is.
    """

    log_odds: Tensor
    steepness: Tensor
    at_0: float
    at_1: float
    shape: Shape
    drop: float


@dataclass(frozen=True)
class Ratios:
    """The asymmetry ratio r and the upper ratio: asymmetric if w_m / w_n >= 1 / r, only if w_m / w_n >= 1 / upper."""

    asymmetry: float
    upper: float


def logits_at(log_odds: Tensor, num_classes: int) -> Tensor:
    """Logits whose first class has these log-odds; the others share the rest equally. Shapes: (N,) -> (N, C)."""
    others = -log_odds - log(num_classes - 1)
    return torch.cat([torch.zeros_like(others)[:, None], others[:, None].expand(-1, num_classes - 1)], dim=1)


def value(loss: LossFunction, log_odds: Tensor, num_classes: int) -> Tensor:
    """l at these log-odds of p_y. Shapes: (N,) -> (N,)."""
    return values(loss, logits_at(log_odds, num_classes), torch.zeros(len(log_odds), dtype=torch.int64))


def steepness(loss: LossFunction, log_odds: Tensor, num_classes: int) -> Tensor:
    """-l'(p_y), to full relative precision at both ends. Shapes: (N,) -> (N,).

    The gradient in the label's logit is precise where p_y is small, the one in the others where 1 - p_y is small.
    """
    labels = torch.zeros(len(log_odds), dtype=torch.int64)
    slopes = gradients(loss, logits_at(log_odds, num_classes), labels)
    in_log_odds = torch.where(log_odds < 0, slopes[:, 0], -slopes[:, 1:].sum(dim=1))
    softplus = torch.nn.functional.softplus
    return -in_log_odds * (softplus(log_odds) + softplus(-log_odds)).exp()


def is_additive(loss: LossFunction, num_classes: int, tolerance: float = 1e-5) -> bool:
    """Whether the value depends on p_y alone, to `tolerance` of its range over p_y in [0.01, 0.99].

    Compares ten ways of sharing the rest among the other classes, some almost one-hot.
    """
    if num_classes == 2:
        return True
    log_odds = torch.tensor([-14.0, -7.0, -4.6, -2.0, 0.0, 2.0, 4.6, 7.0], dtype=torch.float64)
    even = value(loss, log_odds, num_classes)
    spread = 0.0
    for seed in range(10):
        shares, _ = random_logits(len(log_odds), num_classes - 1, seed, scale=0.5 if seed < 5 else 5.0)
        logits = torch.cat([log_odds[:, None], shares.log_softmax(dim=1)], dim=1)
        found = values(loss, logits, torch.zeros(len(log_odds), dtype=torch.int64))
        spread = max(spread, float((found - even).abs().max()))
    return spread <= tolerance * float(even[2:7].max() - even[2:7].min())


def profile(loss: LossFunction, num_classes: int) -> Profile:
    """The slopes of an additive loss, their limits and the shape of l."""
    log_odds = torch.cat([-TAIL.flip(0), DENSE, TAIL])
    narrow = loss(*random_logits(2, num_classes)).dtype != torch.float64
    if narrow:
        log_odds = log_odds[log_odds.abs() <= NARROW]
    slopes = steepness(loss, log_odds, num_classes)
    scale = float(value(loss, DENSE[[0, -1]], num_classes).diff().abs())
    kept = slopes.isfinite()
    for side in (log_odds < 0, log_odds > 0):
        kept &= ~side | ~rounded_away(slopes * (-log_odds.abs()).exp(), slopes, log_odds.abs(), side, scale)
    log_odds, slopes = log_odds[kept], slopes[kept]
    at_0 = limit(slopes[log_odds < max(-FAR, 0.6 * float(log_odds[0]))].flip(0))
    at_1 = limit(slopes[log_odds > min(FAR, 0.6 * float(log_odds[-1]))])
    # Where the loss changes by less than 1e-12 of its range, rounding makes slopes jump; a remaining 0 is a clamp's.
    resolved = ((slopes * (-log_odds.abs()).exp()).abs() > 1e-12 * scale) | (slopes == 0)
    shape = _shape(slopes[resolved], 1e-4 if narrow else 1e-7)
    return Profile(log_odds, slopes, at_0, at_1, shape, _drop(loss, num_classes))


def rounded_away(change: Tensor, slopes: Tensor, distance: Tensor, side: Tensor, scale: float) -> Tensor:
    """Where a slope of 0 near an end is a rounding error, as for 1 - p^q, where p^q is lost next to the 1.

    It is one if the slopes are 0 only where the loss changes by less than 1e-11 of its range. A clamped loss, at 1e-7
    say, is also flat where the change would be visible.

    Args:
        change: (N,), slope times distance from the end: how much the loss still changes.
        slopes: (N,). distance: (N,), larger is nearer to the end. side: (N,), bool, the points on this end's side.
        scale: the range of the loss.
    """
    flat = side & (slopes == 0)
    unseen = side & ~flat & (change.abs() < 1e-11 * scale)
    if not flat.any() or not unseen.any() or distance[unseen].min() > distance[flat].min():
        return torch.zeros_like(side)
    return side & (distance >= distance[unseen].min())


def limit(outward: Tensor) -> float:
    """The limit of a sequence (N,) sampled outward on a log scale: inf if it keeps growing, 0 if it vanishes.

    A power or a logarithm keeps growing to the last decade, however slowly; a uniform grid would not show this.
    """
    first, middle, last = (float(outward[i]) for i in (len(outward) // 3, 2 * len(outward) // 3, -1))
    if last > middle * (1 + 1e-3) and last - middle > 0.3 * (middle - first):
        return inf
    if last <= 0 or 1e-3 < log(middle / last) > 0.5 * log(first / middle):
        return min(last, 0.0)
    return last


def _shape(slopes: Tensor, tolerance: float) -> Shape:
    if (slopes < -tolerance * slopes.abs().max().clamp(max=1.0)).any():
        return "not decreasing"
    step = slopes.diff() / torch.maximum(slopes[1:].abs(), slopes[:-1].abs()).clamp(min=1e-300)
    convex, concave = bool((step <= tolerance).all()), bool((step >= -tolerance).all())
    return "linear" if convex and concave else "convex" if convex else "concave" if concave else "neither"


def _drop(loss: LossFunction, num_classes: int) -> float:
    near, far, one = value(loss, torch.tensor([-600.0, -9000.0, 9000.0], dtype=torch.float64), num_classes).tolist()
    return inf if not far < near + 1e-3 * max(1.0, abs(near)) else far - one


def ratios(loss: LossFunction, num_classes: int, slopes: Profile) -> Ratios | None:
    """r and its upper version; None for an l that does not decrease.

    Convex l: both are l'(1) / l'(0). Concave or linear l: both are 1. Otherwise they are searched over log-spaced steps
    of p_y from 1e-9; the slopes give the limit of small steps.
    """
    if slopes.shape == "not decreasing":
        return None
    if slopes.shape in ("linear", "concave"):
        return Ratios(1.0, 1.0)
    if slopes.shape == "convex":
        flat = isinf(slopes.at_0) or slopes.at_1 == 0
        r = 0.0 if flat else min(1.0, slopes.at_1 / slopes.at_0)
        return Ratios(r, r)
    small = 0.0 if isinf(slopes.at_0) else inf if slopes.at_0 == 0 else 1 / slopes.at_0
    upper = inf if slopes.at_0 == 0 else 0.0 if small == 0 and not isinf(slopes.at_1) else slopes.at_1 * small
    lower = inf if slopes.at_0 == 0 else float(slopes.steepness.min()) * small
    parts = torch.logspace(-9, 0, 136, dtype=torch.float64)  # u2, or 1 - u
    shares = torch.cat([torch.logspace(-6, -1, 30, dtype=torch.float64), torch.linspace(0.1, 1, 46).double()])
    start = (1 - parts)[:, None] * torch.cat([torch.zeros(1).double(), shares])  # u1 <= 1 - u2
    taken = _at(loss, torch.zeros(1).double(), num_classes) - _at(loss, parts, num_classes)
    given = _at(loss, start.flatten(), num_classes) - _at(loss, (start + parts[:, None]).flatten(), num_classes)
    quotient = given.view_as(start) / taken[:, None]
    at_end = quotient[:, -1]  # u1 = 1 - u2
    lower = min(lower, float(quotient[quotient.isfinite()].min()), 1.0)
    return Ratios(max(lower, 0.0), max(0.0, min(upper, float(at_end[at_end.isfinite()].min()), 1.0)))


def _at(loss: LossFunction, probability: Tensor, num_classes: int) -> Tensor:
    return value(loss, probability.clamp(0, 1).logit().clamp(-9000, 9000), num_classes)
