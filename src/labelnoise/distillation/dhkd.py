"""Dual-head distillation: one head learns the labels, another one the teacher's logits, on the same features."""

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, Positive, PositiveFraction, checked
from labelnoise.data.train_set import Batch
from labelnoise.distillation.teaching import Lesson, Taught
from labelnoise.losses.base import at_least_single
from labelnoise.training.learner import MakeNetwork
from labelnoise.training.method import Setup


def binary_divergence(taught: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """T^2 sum_k KL(Bern(1/2) || Bern(sigmoid((z_k - t_k) / T))), the mean over the batch; 0 where the logits are equal.

    Shapes: t (B, C), z (B, C) -> 0-d, in nats.
    Source: Yang et al. 2024, arXiv:2411.08937, BinaryKL-Norm. The released code clamps the sigmoid to 1e-8.
    """
    gap = (at_least_single(logits) - at_least_single(taught)) / temperature
    # -log 2 - log(sigmoid(g) sigmoid(-g)) / 2, and log(2 cosh(g / 2)) is g / 2 + softplus(-g)
    values = (F.softplus(gap) + F.softplus(-gap)) / 2 - torch.log(gap.new_tensor(2.0))
    return temperature**2 * values.sum(dim=1).mean()


class DHKD(Taught):
    """The student has two linear heads, and minimises loss(z, y) + weight BinaryKL(z', t).

    z are the logits of its first head, z' those of its second one and t the teacher's. It predicts with the first one.
    If `align`, the gradient of the second term loses its part against the gradient of the first one, where they point
    in opposite directions: g + g' - min(g.g', 0) g / |g|^2.

    Args:
        first, teacher: as in `Taught`.
        weight: >= 0.
        temperature: T, > 0.
        align: whether gradients are aligned.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Yang, Zong, Huang, Feng, An 2024, arXiv:2411.08937, and its released code; with a teacher trained on true
        labels there.
    Differs: the second head is linear; the released code can also give it a hidden layer.
    """

    @checked
    def __init__(
        self,
        setup: Setup,
        first: PositiveFraction,
        teacher: MakeNetwork | None,
        weight: NonNegative,
        temperature: Positive,
        align: bool,
    ) -> None:
        super().__init__(setup, first, teacher, extra_outputs=setup.train.num_classes)
        self.weight, self.temperature, self.align = weight, temperature, align

    def lesson(self, batch: Batch) -> Lesson:
        taught = self.teacher.evaluated(batch.images)
        logits, second = self.student(batch.images).chunk(2, dim=1)
        of_teacher = self.weight * binary_divergence(taught, second, self.temperature)
        given = self.loss(logits, batch.labels).mean()
        step = self.aligned(given, of_teacher) if self.align else None
        return Lesson(given + of_teacher, of_teacher, logits, taught, step=step)

    def aligned(self, given: Tensor, of_teacher: Tensor) -> Tensor:
        """A value whose gradient is the aligned one. Shapes: 0-d, 0-d -> 0-d."""
        weights = [weight for weight in self.student.network.parameters() if weight.requires_grad]
        first = torch.autograd.grad(given, weights, retain_graph=True)
        second = torch.autograd.grad(of_teacher, weights)
        dot = torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()
        square = torch.stack([a.square().sum() for a in first]).sum()
        share = 1 - dot.clamp_max(0) / square.clamp_min(torch.finfo(square.dtype).tiny)
        parts = [(weight * (share * a + b)).sum() for weight, a, b in zip(weights, first, second, strict=True)]
        return torch.stack(parts).sum()
