"""Whether the minimiser of a loss keeps the order of the class probabilities, on the simplex of three classes."""

from dataclasses import dataclass
from math import isinf

import torch
from torch import Tensor

from labelnoise.theory.additive import Profile
from labelnoise.theory.evaluation import LossFunction, values
from labelnoise.theory.search import depth_of

COUNT = 400  # random class probabilities
APART = 0.08  # smallest difference of two probabilities that the grid of logits resolves


@dataclass(frozen=True)
class Calibration:
    """How the minimiser u of sum_i w_i L(u, i) over all predictions orders the classes, for class probabilities w.

    Attributes:
        top: the class with the largest w has the largest u (classification calibration).
        order: w_i > w_j never comes with u_i < u_j.
        ranks: w_i > w_j always comes with u_i > u_j; a minimiser at a vertex does not rank.
        proven: it follows from the shape of l(p_y); otherwise random w were tried.
    """

    top: bool
    order: bool
    ranks: bool
    proven: bool


def by_shape(profile: Profile) -> Calibration:
    """What the shape of a decreasing l(p_y) implies.

    Convex: where the slopes balance, w_i > w_j gives u_i >= u_j, and u_i > u_j if l'(0) is infinite, so no u is 0.
    Concave or linear: the minimiser is the vertex of the largest w.
    """
    return Calibration(True, True, profile.shape == "convex" and isinf(profile.at_0), proven=True)


def calibration(loss: LossFunction) -> Calibration:
    """Compare the order of w and of u, on a grid of logits that includes the vertices and is dense near the centre."""
    below = -torch.cat([torch.tensor([depth_of(loss, 3), 40.0, 25.0, 16.0]), torch.linspace(12, 0, 61)]).double()
    first, second = (axis.flatten() for axis in torch.meshgrid(below, below, indexing="ij"))
    plane = torch.stack([torch.zeros_like(first), first, second], dim=1)
    logits = torch.cat([plane.roll(k, dims=1) for k in range(3)])
    count = len(logits)
    losses = values(loss, logits.repeat(3, 1), torch.arange(3).repeat_interleave(count)).view(3, count)
    w = _probabilities()
    u = logits[(w @ losses).argmin(dim=1)].softmax(dim=1)
    top = u.gather(1, w.argmax(dim=1, keepdim=True)).squeeze(1)
    others = u.scatter(1, w.argmax(dim=1, keepdim=True), -1.0).max(dim=1).values
    w_step, u_step = w[:, :, None] - w[:, None, :], u[:, :, None] - u[:, None, :]
    ordered = w_step > APART
    return Calibration(
        top=bool((top > others).all()),
        order=bool((u_step[ordered] >= 0).all()),
        ranks=bool((u_step[ordered] > 1e-12).all()),
        proven=False,
    )


def _probabilities() -> Tensor:
    """(N, 3), uniform on the simplex, the largest at least APART above the others."""
    generator = torch.Generator().manual_seed(0)
    w = -torch.rand(4 * COUNT, 3, generator=generator, dtype=torch.float64).log()
    w = w / w.sum(dim=1, keepdim=True)
    ranked = w.sort(dim=1, descending=True).values
    return w[ranked[:, 0] - ranked[:, 1] > APART][:COUNT]
